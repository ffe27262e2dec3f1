//! The TLS authority: certificates for brokers and relays and for devices, and the list of revoked ones.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod,
    KeyPair, KeyUsagePurpose, RevocationReason, RevokedCertParams, SerialNumber, date_time_ymd,
};
pub(super) use sally_proto::broker::RELAY_NAME;
use sally_proto::error::Fault;

use super::authority::internal;
use super::ledger::{Holder, Ledger};
use super::{FleetFolder, files, invalid};

/// The name of every authority; key identifiers distinguish them.
const AUTHORITY: &str = "Sally fleet";
/// The year from which certificates are valid: devices whose clock starts in the past must be able to connect.
const FIRST_YEAR: i32 = 2020;
/// The last year: no well-defined expiration (RFC 5280 section 4.1.2.5). Revocation, not a forgotten renewal, ends certificates.
const LAST_YEAR: i32 = 9999;

/// The TLS authority with its private key.
pub(super) struct TlsAuthority {
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its private key, in PEM.
pub(super) struct TlsIdentity {
    pub(super) certificate: String,
    pub(super) key: String,
}

impl TlsAuthority {
    /// Creates an authority, and returns it with its certificate and private key.
    pub(super) fn fresh() -> Result<(Self, TlsIdentity), Fault> {
        let key = KeyPair::generate().map_err(internal)?;
        let params = authority_params();
        let certificate = params.self_signed(&key).map_err(internal)?.pem();
        let identity = TlsIdentity { certificate, key: key.serialize_pem() };
        Ok((Self { issuer: Issuer::new(params, key) }, identity))
    }

    pub(super) fn load(fleet: &FleetFolder) -> Result<Self, Fault> {
        let file = fleet.ca("tls_ca.key");
        let key = KeyPair::from_pem(&files::read_text(&file)?).map_err(|error| invalid(&file, error))?;
        Ok(Self { issuer: Issuer::new(authority_params(), key) })
    }

    /// Certifies a device: a client whose common name is its id.
    pub(super) fn device(&self, id: &str, serial: u64) -> Result<TlsIdentity, Fault> {
        self.certify(id, Vec::new(), vec![ExtendedKeyUsagePurpose::ClientAuth], serial)
    }

    /// Certifies the relays: as the embedded broker's server, and as a client of any other broker.
    pub(super) fn relay(&self, hosts: Vec<String>, serial: u64) -> Result<TlsIdentity, Fault> {
        self.certify(RELAY_NAME, hosts, vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth], serial)
    }

    fn certify(&self, name: &str, hosts: Vec<String>, uses: Vec<ExtendedKeyUsagePurpose>, serial: u64) -> Result<TlsIdentity, Fault> {
        let mut params = dated(CertificateParams::new(hosts).map_err(internal)?, name);
        params.serial_number = Some(SerialNumber::from(serial));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = uses;
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(internal)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(internal)?.pem();
        Ok(TlsIdentity { certificate, key: key.serialize_pem() })
    }

    /// Returns the list of everything that the ledger has revoked, in PEM. It never expires: an expired list would lock out every device.
    pub(super) fn crl(&self, ledger: &Ledger) -> Result<String, Fault> {
        let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
        let month = u8::try_from(today.month()).unwrap_or(1);
        let this_update = date_time_ymd(today.year().into(), month, u8::try_from(today.day()).unwrap_or(1));
        let revoked = ledger.entries().filter(|entry| entry.revoked.is_some() && entry.holder != Holder::Visitor);
        let revoked_certs = revoked.map(|entry| RevokedCertParams {
            serial_number: SerialNumber::from(entry.serial),
            revocation_time: this_update,
            reason_code: Some(RevocationReason::PrivilegeWithdrawn),
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update,
            next_update: date_time_ymd(LAST_YEAR, 12, 31),
            crl_number: SerialNumber::from(ledger.revocations().saturating_add(1)),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).and_then(|crl| crl.pem()).map_err(internal)
    }
}

fn authority_params() -> CertificateParams {
    let mut params = dated(CertificateParams::default(), AUTHORITY);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn dated(mut params: CertificateParams, name: &str) -> CertificateParams {
    params.not_before = date_time_ymd(FIRST_YEAR, 1, 1);
    params.not_after = date_time_ymd(LAST_YEAR, 12, 31);
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// Returns whether a private key in PEM belongs to a certificate in PEM: the certificate contains the public key's bytes.
pub(super) fn is_key_of(key: &str, certificate: &str) -> Option<bool> {
    let key = KeyPair::from_pem(key).ok()?;
    let body: String = certificate.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, body).ok()?;
    let public = key.public_key_raw();
    Some(der.windows(public.len()).any(|window| window == public))
}
