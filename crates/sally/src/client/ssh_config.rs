//! Prints Host blocks for stock ssh, on machines without Sally: Linux, macOS and Windows.

use std::fmt::Write as _;

use super::settings::ClientSettings;

/// The file for the printed lines of known_hosts: the same path on every system.
const KNOWN_HOSTS: &str = "~/.ssh/known_hosts_sally";
/// The relay's name in the printed blocks.
const ALIAS: &str = "sally-relay";

/// Returns the blocks for devices named by `patterns`, and the lines of `known_hosts`, which go into a file of their own, so that ssh
/// trusts the fleet's authority for these hosts only.
pub fn print(settings: &ClientSettings, patterns: &[String], known_hosts: &str) -> String {
    let mut text = String::new();
    let relay = &settings.relay;
    // Writing to a String does not fail.
    let _ = writeln!(text, "# Into ~/.ssh/config:");
    let _ = writeln!(text, "Host {ALIAS}\n    HostName {}", relay.host());
    if let Some(port) = relay.port() {
        let _ = writeln!(text, "    Port {port}");
    }
    if let Some(user) = relay.user() {
        let _ = writeln!(text, "    User {user}");
    }
    let identity = settings.identity.as_ref().map(|file| format!("    IdentityFile \"{}\"\n", file.display())).unwrap_or_default();
    let believed =
        if known_hosts.is_empty() { String::new() } else { format!("    UserKnownHostsFile ~/.ssh/known_hosts {KNOWN_HOSTS}\n") };
    text.push_str(&identity);
    text.push_str(&believed);
    let _ = writeln!(text, "\nHost {}\n    ProxyJump {ALIAS}", patterns.join(" "));
    text.push_str(&identity);
    text.push_str(&believed);
    if !known_hosts.is_empty() {
        let _ = writeln!(text, "\n# Into {KNOWN_HOSTS}:");
        for line in known_hosts.lines() {
            let _ = writeln!(text, "#   {line}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_that_ssh_reads() {
        let settings = ClientSettings {
            relay: "alice@relay.example.com:2222".parse().unwrap(),
            identity: Some("~/.ssh/alice".into()),
            known_hosts: None,
            config: None,
            wait: None,
        };
        insta::assert_snapshot!(print(&settings, &["cam-*".into(), "door-1".into()], "@cert-authority * ssh-ed25519 AAAA fleet"));
    }
}
