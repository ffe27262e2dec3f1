//! Looks up keys in a known_hosts file (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT").

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sally_proto::record::Trust;
use sha1::Sha1;
use ssh_key::{HashAlg, PublicKey};

/// Returns whether the file lists a host's key for this port. It looks it up as ssh(1) does: `host`, or `[host]:port` if the port is not
/// 22.
pub(crate) fn lists(text: &str, host: &str, port: u16, key: &PublicKey) -> bool {
    let name = if port == 22 { host.to_owned() } else { format!("[{host}]:{port}") };
    judge(text, Some(&name), key).0 == Trust::Proven
}

/// A line that lists a key for some hosts.
struct KnownHostsEntry<'a> {
    revoked: bool,
    hosts: &'a str,
    key: PublicKey,
}

/// Judges `signer` by the file's text; with `host`, only by the lines for that host. Returns the name that it is listed under, too.
pub(crate) fn judge(text: &str, host: Option<&str>, signer: &PublicKey) -> (Trust, Option<String>) {
    let entries: Vec<KnownHostsEntry<'_>> = text.lines().filter_map(entry).collect();
    let same = |entry: &&KnownHostsEntry<'_>| entry.key.key_data() == signer.key_data();
    if entries.iter().filter(same).any(|entry| entry.revoked) {
        return (Trust::Refused(format!("it is signed by {}, a key that is revoked", signer.fingerprint(HashAlg::Sha256))), None);
    }
    let listed: Vec<_> = entries.iter().filter(|entry| !entry.revoked && host.is_none_or(|host| matches(entry.hosts, host))).collect();
    if let Some(entry) = listed.iter().copied().find(same) {
        let name = match host {
            Some(host) => host.to_owned(),
            None if entry.hosts.starts_with('|') => "a host whose name is hidden".to_owned(),
            None => entry.hosts.to_owned(),
        };
        return (Trust::Proven, Some(name));
    }
    match host {
        Some(host) if listed.iter().any(|entry| entry.key.algorithm() == signer.algorithm()) => {
            let signer = signer.fingerprint(HashAlg::Sha256);
            (Trust::Refused(format!("it is signed by another key ({signer}) than known_hosts has for {host}")), None)
        }
        _ => (Trust::Unproven, None),
    }
}

fn entry(line: &str) -> Option<KnownHostsEntry<'_>> {
    let line = line.trim_start();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let (first, after) = line.split_once([' ', '\t'])?;
    let (revoked, rest) = match first {
        "@revoked" => (true, after.trim_start()),
        // A record is signed by a host's key, never by its CA.
        _ if first.starts_with('@') => return None,
        _ => (false, line),
    };
    let (hosts, key) = rest.split_once([' ', '\t'])?;
    let mut words = key.split_ascii_whitespace();
    let key = PublicKey::from_openssh(&format!("{} {}", words.next()?, words.next()?)).ok()?;
    Some(KnownHostsEntry { revoked, hosts, key })
}

/// Returns whether a host field names `host`, written `name`, `address` or `[name]:port` as in the file.
fn matches(hosts: &str, host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let mut found = false;
    for pattern in hosts.split(',') {
        if let Some(hidden) = pattern.strip_prefix("|1|") {
            found |= hashes_to(hidden, &host).unwrap_or(false);
        } else if let Some(denied) = pattern.strip_prefix('!') {
            if glob(denied.to_ascii_lowercase().as_bytes(), host.as_bytes()) {
                return false;
            }
        } else {
            found |= glob(pattern.to_ascii_lowercase().as_bytes(), host.as_bytes());
        }
    }
    found
}

/// Compares a hashed name, `salt|hash`: HMAC-SHA1 of the name, keyed by the salt.
fn hashes_to(hidden: &str, host: &str) -> Option<bool> {
    let (salt, hash) = hidden.split_once('|')?;
    let mut mac = Hmac::<Sha1>::new_from_slice(&STANDARD.decode(salt).ok()?).ok()?;
    mac.update(host.as_bytes());
    Some(mac.verify_slice(&STANDARD.decode(hash).ok()?).is_ok())
}

/// Matches `*` and `?`, in time bounded by the product of the lengths.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut from) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while from < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at + 1, from));
                at += 1;
            }
            Some(wanted) if *wanted == b'?' || text.get(from) == Some(wanted) => {
                at += 1;
                from += 1;
            }
            _ => {
                let Some((after, taken)) = star else { return false };
                star = Some((after, taken + 1));
                at = after;
                from = taken + 1;
            }
        }
    }
    pattern.get(at..).is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA6rWI3G1sz07DnfFlrouTcysQlj2P+jpNSOEWD9OJ3X";

    fn trust(file: &str, host: Option<&str>) -> Trust {
        judge(file, host, &PublicKey::from_openssh(KEY).unwrap()).0
    }

    #[test]
    fn a_key_listed_for_the_host_is_proven() {
        let file = format!("# hosts\n\nother.example {OTHER}\nsally.example,[192.0.2.1]:2022 {KEY} comment\n");
        assert_eq!(trust(&file, None), Trust::Proven);
        assert_eq!(trust(&file, Some("SALLY.example")), Trust::Proven);
        assert_eq!(trust(&file, Some("[192.0.2.1]:2022")), Trust::Proven);
        assert!(matches!(trust(&file, Some("other.example")), Trust::Refused(_)));
        assert_eq!(trust(&file, Some("192.0.2.1")), Trust::Unproven);
        assert_eq!(trust(&format!("a {OTHER}\n"), None), Trust::Unproven);
    }

    #[test]
    fn a_host_is_looked_up_as_ssh_does() {
        let file = format!("relay.example {KEY}\n[relay.example]:2222 {OTHER}\n");
        let lists = |port, key| lists(&file, "relay.example", port, &PublicKey::from_openssh(key).unwrap());
        assert!(lists(22, KEY) && lists(2222, OTHER));
        assert!(!lists(22, OTHER) && !lists(2222, KEY) && !lists(23, KEY));
    }

    #[test]
    fn patterns_and_negations_are_those_of_openssh() {
        let file = format!("*.example,!bad.example,h?st {KEY}\n");
        assert_eq!(trust(&file, Some("a.b.example")), Trust::Proven);
        assert_eq!(trust(&file, Some("host")), Trust::Proven);
        assert_eq!(trust(&file, Some("bad.example")), Trust::Unproven);
        assert_eq!(trust(&file, Some("hoost")), Trust::Unproven);
    }

    #[test]
    fn a_revoked_key_is_refused_and_a_ca_vouches_for_nobody_here() {
        assert!(matches!(trust(&format!("x {KEY}\n@revoked * {KEY}\n"), None), Trust::Refused(_)));
        assert_eq!(trust(&format!("@cert-authority * {KEY}\n"), None), Trust::Unproven);
    }

    #[test]
    fn hidden_names_are_found_as_ssh_keygen_hides_them() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("known_hosts");
        std::fs::write(&file, format!("sally.example {KEY}\n")).unwrap();
        let hidden = std::process::Command::new("ssh-keygen").args(["-q", "-H", "-f"]).arg(&file).output().unwrap();
        assert!(hidden.status.success());
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("|1|"));
        assert_eq!(trust(&text, Some("sally.example")), Trust::Proven);
        assert_eq!(trust(&text, Some("sally.example.org")), Trust::Unproven);
        assert_eq!(trust(&text, None), Trust::Proven);
    }
}
