//! The keys of the cases: ed25519 ones made from seeds, others given as public halves, for which the oracle puts real ones.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ssh_key::certificate::{Builder, CertType};
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{PrivateKey, PublicKey};

use super::{Certificate, Visitor};

const SEEDED: [(&str, u8); 4] = [("ed", 1), ("other", 2), ("ca", 3), ("ca2", 4)];

const RSA: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQCTwNYBCyUYLUj0L8BwgovdeH1cAwHAdI4bB5XVQ/uIMAh4jancnkAvBjL8egAhUEB+rDt7Os8cfaN+BI62l3Y/x3m7OL824Rn2+EOP5noiw0+X9S/LFiQVqnDvt7u31VXWL79qTX2dbkhu6lX6ITQmtPyv9ydfSjG6XD/ZpA+UVhAOR62QGpukdriXDumtkkPNusRDgu7+nHXohY1M8O1JDWKz5eciHWXt8TwgK4sW1FbB4hIQNG4aC7rPebqd5lN3pn5Yp7aGalGnqrAceQhMKpwal9u4j39RtvaWgzv9d91Gc8zIpl/nv07w14yJX9aV7rS8hqBDkyIssvnuW3nH";
const RSA_1024: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC6RBBljmdrI46UWNmHePlIo7zU0+N/Pgx1K2ueHq9piw05nsD0zEzthsHkw3qgete84J5K3dbu/L8ciEpdGmZ3mydjTK5Kr54H3HBVX9qV0ieg/Db97iaxq6tGuhtZJRb/TcjvcSpEXm+URTERru7g7Q7E96xoOeZgifh/Thg28Q==";
/// 1016 bits.
const RSA_SMALL: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgADOcaBpbHMfd8woSYpVxIMDT10NiI4sZ9oN/EMgFT4S5TqJIs8jvmUiddD0GsnzCexsT5WS7oJXhRAC1RZtQzk06s44AyVwSLxXc+ZGlXgRSY3WB/+c2T2HzfZMlmsdUsrlZ0spVrrvm0wH253nXoPwIzbpp73F/jv0IkQnQUTZ";
const DSA: &str = "ssh-dss AAAAB3NzaC1kc3MAAACBAKys8F9By4vaOl8i0lN1Lu2pEQVr3PrZzjc0CXYn3Tnd6VNGY5lDYhCcND8Sj1BhPRkgeNyvQ+TX8BqFY3KuMPeU5m+pE8f2ikriCzupTi7lPS/WLMPOnCRSM2Tg+OVwMao97ebGxrHdAe09smQAXOVQJmS6BztLv2Xks1iE2pmnAAAAFQCmuSIw0roPzRtqFU7BNfo5amUrpwAAAIAeS3KqQ+MMw0pxBS6fAi2PBb3D0z1IArcYBmKLgTGUTrt2MDpyXvXV1TJDi18DI8J6lR4U1oCdaaCOSjBIgDYQwDdEJNPsd7/Zm7+LYBDWOZwsNwINUwsz8Wt0riPxWr5Gdx9AdDw2J7QGgfddSVGeW6UYyH3iWDRQCnpgtUNf4wAAAIABu474zkaHvLdhr31W1b+4nW8MeIl9HBxuFDGG3uZbbeZxAlHaqLdMv6qX8I8+TgbGJQqULfLL1y4EOmh1a+zqXSemJAgmNQFrXFfM+Bsv2FaMU+rjxZjJhicK7ZudTamo/68zV9XohjjuWjSGfkx2t3HIlmTdVthYUVfq7+xE4Q==";
const ECDSA_256: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBHc+4MHPsvKIf96ev2KahRZPd0ZD5CkB8BCeow+Tp7NW8RtaX0Omx6BKV8sQenOYfLrOESwp1rrNZa5cekzryBA=";
const ECDSA_384: &str = "ecdsa-sha2-nistp384 AAAAE2VjZHNhLXNoYTItbmlzdHAzODQAAAAIbmlzdHAzODQAAABhBNWzDN8vfzP3nky9rOjW/XwX0vZmQM4lI0RCSYJRJ3O2YbJiSGwIpueFrVV48tT6es2Qs45upO5A5Lfg4bHjTjMJxwMfzUC5iCTtaLRM/gN2yVO8YUOheJTNLw+o7siKkQ==";
const ECDSA_521: &str = "ecdsa-sha2-nistp521 AAAAE2VjZHNhLXNoYTItbmlzdHA1MjEAAAAIbmlzdHA1MjEAAACFBACWBUZS2xmYYkeJ4Sv1jDy+EgWqL48XBAfDiPjoVPWi13EvDlbyyf4qyoJlxJ7vOjr2VcmELTWGDwR9gqo92KXyYwF7vpak9AVs076NLdJxAsVx2BaBUqLLU59VyKx5zUD/rK9gLvB44SJMuHE0MoNbNNk3v8g5kW9pg/ezWXpAo/xbew==";
/// Of the two certificates over key `ed` below; nobody has its private half any more.
const RSA_CA: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQDCTmFXXAcan32r8kgYc4UqvFvZWGCp3HfVZYLpGB0JUNMTRDKwmrOd5kbOWrZ9x/1ZWo1LKeFBEk3iV0wgwAv2M9kLwc38q9vHUcZZCI+gmU3sMSdDu9G3WqLk70plaJ0DENh3m6co8rtg71TpffpnkRQk0uk/ee3OakaPertgji3uWHbeDUU4GZp9YyZQyiyVzN024+ijVcsFWtbV8zcEFlstaA2R4g9mf8DUXFBIkbnGCU7eW1QA0sbyO2jrWeSgOqOz64wwC8MZeLVWSkjh661QJlXKHLLCKuYnJNMXVsA9gbECmVQx+d+pfgMdSMHQZ74Hoaw4oyz+gS2Pgqjh";
const RSA_SHA1_CERTIFICATE: &str = "ssh-ed25519-cert-v01@openssh.com AAAAIHNzaC1lZDI1NTE5LWNlcnQtdjAxQG9wZW5zc2guY29tAAAAIGj9bHdIr3OcYvYCedsLIzceHUaH3ttSxg5FS5R6k0pbAAAAIIqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29cAAAAAAAAAAAAAAABAAAABHNoYTEAAAAIAAAABHJvb3QAAAAAAAAAAP//////////AAAAAAAAAIIAAAAVcGVybWl0LVgxMS1mb3J3YXJkaW5nAAAAAAAAABdwZXJtaXQtYWdlbnQtZm9yd2FyZGluZwAAAAAAAAAWcGVybWl0LXBvcnQtZm9yd2FyZGluZwAAAAAAAAAKcGVybWl0LXB0eQAAAAAAAAAOcGVybWl0LXVzZXItcmMAAAAAAAAAAAAAARcAAAAHc3NoLXJzYQAAAAMBAAEAAAEBAMJOYVdcBxqffavySBhzhSq8W9lYYKncd9VlgukYHQlQ0xNEMrCas53mRs5atn3H/VlajUsp4UESTeJXTCDAC/Yz2QvBzfyr28dRxlkIj6CZTewxJ0O70bdaouTvSmVonQMQ2Hebpyjyu2DvVOl9+meRFCTS6T957c5qRo96u2COLe5Ydt4NRTgZmn1jJlDKLJXM3Tbj6KNVywVa1tXzNwQWWy1oDZHiD2Z/wNRcUEiRucYJTt5bVADSxvI7aOtZ5KA6o7PrjDALwxl4tVZKSOHrrVAmVcocssIq5ick0xdWwD2BsQKZVDH536l+Ax1IwdBnvgehrDijLP6BLY+CqOEAAAEPAAAAB3NzaC1yc2EAAAEAfca2dX/lhtpwpuE3o7gMQuySEsHtV12AiWz5Zvys8RpI/PgZaLbG+uptuwdiKGH53TogICbPMhovj0+28C418c1lEblyv22KDrO7VlXtjs7lfkW/5DAUZdWivMzyyO9zD/X2zoNFpOgZCH9/owEFtgb305NM2rnFiE7nvM3igzdP+t0ZnJ4s6z/aLOfDjaoRaoDLwFzB3G9tssNe/O+iDUExGydJux48nXKH7NpSrCex4ivZ9yT3F1YxAeVSFEOPQq1UDVt7G3SgSYFPuJ04ZPODnGgLEt8/9xkX/QnzW/nzvMOCKOBoSLVh7e4jbul3PNY6j2WjFp18ZmYIAqc4Wg==";
const RSA_SHA512_CERTIFICATE: &str = "ssh-ed25519-cert-v01@openssh.com AAAAIHNzaC1lZDI1NTE5LWNlcnQtdjAxQG9wZW5zc2guY29tAAAAICTCuifXj5lGinWC3kxu8iGjuL3I7AKDbSvh2+sBecaQAAAAIIqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29cAAAAAAAAAAAAAAABAAAABnNoYTUxMgAAAAgAAAAEcm9vdAAAAAAAAAAA//////////8AAAAAAAAAggAAABVwZXJtaXQtWDExLWZvcndhcmRpbmcAAAAAAAAAF3Blcm1pdC1hZ2VudC1mb3J3YXJkaW5nAAAAAAAAABZwZXJtaXQtcG9ydC1mb3J3YXJkaW5nAAAAAAAAAApwZXJtaXQtcHR5AAAAAAAAAA5wZXJtaXQtdXNlci1yYwAAAAAAAAAAAAABFwAAAAdzc2gtcnNhAAAAAwEAAQAAAQEAwk5hV1wHGp99q/JIGHOFKrxb2Vhgqdx31WWC6RgdCVDTE0QysJqzneZGzlq2fcf9WVqNSynhQRJN4ldMIMAL9jPZC8HN/Kvbx1HGWQiPoJlN7DEnQ7vRt1qi5O9KZWidAxDYd5unKPK7YO9U6X36Z5EUJNLpP3ntzmpGj3q7YI4t7lh23g1FOBmafWMmUMoslczdNuPoo1XLBVrW1fM3BBZbLWgNkeIPZn/A1FxQSJG5xglO3ltUANLG8jto61nkoDqjs+uMMAvDGXi1VkpI4eutUCZVyhyywirmJyTTF1bAPYGxAplUMfnfqX4DHUjB0Ge+B6GsOKMs/oEtj4Ko4QAAARQAAAAMcnNhLXNoYTItNTEyAAABAAo8UIAViU4hgiHZx9M0Q/usifsC+W1ToFEIV/Wl+mLe8m+20iNZbDtb+s3te8GWyQjo/jfGH1gUH96y+K6GP9aIjFIgHm5/TcZ5Yl8dIqTNzlTPm4DQKn9zFhLASInOLDbhvv2WoQcQGblNUZIZ4m8aoDmWynV+wg3/PRE+PxDkfWhc+aT7qgs7nvq5SJNp/zJL9mRrnLBiuVPQ7Ubd+ohLh1Pc9uLvuHaa+JVXi6EQ7QIqhMcUbJ+kDm1q5uWMuu/+qp4pNUu71iGJzo4B+itPV23MduMQjjZPPpVncP/N9C7hvIif3MzyDjCMO07uDdySTJwNyeYKHdTlYcPp8Qg=";

/// A key of OpenSSH 10.5's newest type, as far as anybody who doesn't know that type can tell.
fn new_key() -> String {
    unknown("ssh-mldsa44-ed25519@openssh.com", &[7; 1312])
}

/// A key of some type that isn't known here: `TYPE BLOB`.
fn unknown(name: &str, key: &[u8]) -> String {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap().to_be_bytes();
    let blob = [&length(name.as_bytes()), name.as_bytes(), &length(key), key].concat();
    format!("{name} {}", STANDARD.encode(blob))
}

/// The keys by name.
pub struct Keys {
    /// `TYPE BLOB`, no comment.
    lines: BTreeMap<&'static str, String>,
    private: BTreeMap<&'static str, PrivateKey>,
}

impl Default for Keys {
    fn default() -> Self {
        let private: BTreeMap<_, _> = SEEDED
            .iter()
            .map(|(name, seed)| {
                let pair = KeypairData::Ed25519(Ed25519Keypair::from_seed(&[*seed; 32]));
                (*name, PrivateKey::new(pair, "").unwrap())
            })
            .collect();
        let seeded = private.iter().map(|(name, key)| (*name, key.public_key().to_openssh().unwrap()));
        let given = [
            ("rsa", RSA),
            ("rsa1024", RSA_1024),
            ("rsa-small", RSA_SMALL),
            ("dsa", DSA),
            ("ecdsa256", ECDSA_256),
            ("ecdsa384", ECDSA_384),
            ("ecdsa521", ECDSA_521),
            ("rsa-ca", RSA_CA),
            ("sha512-cert", RSA_SHA512_CERTIFICATE),
        ];
        let short = new_key().split_at(60).0.to_owned();
        let unknown = [("new", new_key()), ("new-short", short), ("option", unknown("no-pty", b"key"))];
        let lines = seeded.chain(given.map(|(name, line)| (name, line.to_owned()))).chain(unknown).collect();
        Self { lines, private }
    }
}

impl Keys {
    /// Puts a key of the oracle's making, of which it has the private half, in the place of a given one.
    pub fn replace(&mut self, name: &'static str, line: &str) {
        let words: Vec<&str> = line.split_whitespace().take(2).collect();
        self.lines.insert(name, words.join(" "));
    }

    pub fn public(&self, name: &str) -> PublicKey {
        PublicKey::from_openssh(&self.lines[name]).unwrap()
    }

    /// The private half of one that is made from a seed.
    pub fn private(&self, name: &str) -> Option<&PrivateKey> {
        self.private.get(name)
    }

    /// Puts keys for `{NAME}`, blobs for `{NAME.blob}`, and some long fillings.
    pub fn expand(&self, file: &[u8]) -> Vec<u8> {
        let mut pairs = vec![("{70kB}".to_owned(), "x".repeat(70_000)), ("{9kB}".to_owned(), "y".repeat(9_000))];
        for (name, line) in &self.lines {
            pairs.push((format!("{{{name}}}"), line.clone()));
            pairs.push((format!("{{{name}.blob}}"), line.split(' ').nth(1).unwrap().to_owned()));
        }
        pairs.iter().fold(file.to_vec(), |file, (from, to)| replace(&file, from.as_bytes(), to.as_bytes()))
    }

    pub fn certificate(&self, wanted: &Certificate, now: u64) -> ssh_key::Certificate {
        let at = |offset: i64| now.saturating_add_signed(offset);
        let mut builder = Builder::new([7; 32], self.public("ed"), at(wanted.valid.0), at(wanted.valid.1)).unwrap();
        builder.serial(42).unwrap().key_id("visit").unwrap();
        builder.cert_type(if wanted.host { CertType::Host } else { CertType::User }).unwrap();
        for principal in wanted.principals {
            builder.valid_principal(*principal).unwrap();
        }
        if wanted.principals.is_empty() {
            builder.all_principals_valid().unwrap();
        }
        for (name, value) in wanted.critical {
            builder.critical_option(*name, *value).unwrap();
        }
        for name in wanted.extensions {
            builder.extension(*name, "").unwrap();
        }
        let certificate = builder.sign(&self.private[wanted.authority]).unwrap();
        if !wanted.forged {
            return certificate;
        }
        let mut bytes = certificate.to_bytes().unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        ssh_key::Certificate::from_bytes(&bytes).unwrap()
    }

    pub fn made(&self, name: &str) -> ssh_key::Certificate {
        let line = if name == "sha1" { RSA_SHA1_CERTIFICATE } else { RSA_SHA512_CERTIFICATE };
        ssh_key::Certificate::from_openssh(line).unwrap()
    }

    /// The certificate that a visitor brings, as a line.
    pub fn certificate_line(&self, visitor: Visitor, now: u64) -> Option<String> {
        match visitor {
            Visitor::Key(_) => None,
            Visitor::Certificate(wanted) => Some(self.certificate(&wanted, now).to_openssh().unwrap()),
            Visitor::Made(name) => Some(self.made(name).to_openssh().unwrap()),
        }
    }
}

fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    out.extend_from_slice(rest);
    out
}
