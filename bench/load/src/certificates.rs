//! A fleet's files, as far as a listener reads them, made faster than `sally fleet` makes 10,000 bundles.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod,
    KeyPair, KeyUsagePurpose, SerialNumber, date_time_ymd,
};
use tokio_rustls::rustls::pki_types::CertificateDer;

use crate::Outcome;

/// Serial numbers of devices begin here; the listener's own is before.
const FIRST: u64 = 100;

/// What certifies devices, and the key that all of them have.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) device_key: KeyPair,
}

impl Authority {
    pub(crate) fn load(folder: &Path) -> Outcome<Self> {
        let key = |name| Ok::<_, Box<dyn std::error::Error + Send + Sync>>(KeyPair::from_pem(&fs::read_to_string(folder.join(name))?)?);
        Ok(Self { issuer: Issuer::new(authority_params(), key("ca.key")?), device_key: key("device.key")? })
    }

    /// A device's certificate.
    pub(crate) fn device(&self, number: usize) -> Outcome<CertificateDer<'static>> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name(number));
        params.serial_number = Some(SerialNumber::from(FIRST + number as u64));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        Ok(params.signed_by(&self.device_key, &self.issuer)?.der().clone())
    }
}

/// What a device is called.
pub(crate) fn name(number: usize) -> String {
    format!("device-{number:06}")
}

/// Makes the folder.
pub(crate) fn make(folder: &Path, devices: usize) -> Outcome<()> {
    fs::create_dir_all(folder)?;
    let write = |name: &str, content: &str| fs::write(folder.join(name), content);
    let (key, device_key, own_key) = (KeyPair::generate()?, KeyPair::generate()?, KeyPair::generate()?);
    write("ca.key", &key.serialize_pem())?;
    write("device.key", &device_key.serialize_pem())?;
    write("tls.key", &own_key.serialize_pem())?;
    write("tls_ca.pem", &authority_params().self_signed(&key)?.pem())?;
    let issuer = Issuer::new(authority_params(), key);
    let mut params = CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()])?;
    params.distinguished_name.push(DnType::CommonName, "sally.relay");
    params.serial_number = Some(SerialNumber::from(1));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    write("tls.pem", &params.signed_by(&own_key, &issuer)?.pem())?;
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2020, 1, 1),
        next_update: date_time_ymd(9999, 12, 31),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    write("tls.crl", &list.signed_by(&issuer)?.pem()?)?;
    let mut lines = String::new();
    for number in 0..devices {
        writeln!(lines, r#"{{"v":1,"id":"{}","serial":{},"state":"active"}}"#, name(number), FIRST + number as u64)?;
    }
    Ok(write("devices", &lines)?)
}

fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, "Load");
    params
}
