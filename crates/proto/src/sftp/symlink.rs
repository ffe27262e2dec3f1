//! Recognises clients that send a symbolic link's two paths in another order to Sally than to OpenSSH.
//!
//! The draft (section 6.10) has the link first and its target second. OpenSSH's server has always read them in reverse (its PROTOCOL,
//! section 4.1), and most clients send them so to every server. A few look for `OpenSSH` in the server's identification, and without it
//! send the draft's order: they are recognised by their own identification.

/// How their identifications continue after `SSH-2.0-`.
const LINK_FIRST: &[&str] = &[
    "AsyncSSH_",  // SFTPClientHandler.symlink
    "libssh_",    // sftp_symlink; curl and KDE's kio can be built with it
    "libssh-",    // the same before 0.7
    "ssh2js",     // ssh2 for Node.js: SFTP.symlink
    "phpseclib_", // SFTP::symlink
    "WinSCP",     // TSFTPFileSystem::CreateLink, unless its SFTPSymlinkBug says otherwise
];

/// Returns whether a client with this identification sends the link first.
pub fn sends_link_first(identification: &[u8]) -> bool {
    let software = identification.strip_prefix(b"SSH-2.0-").unwrap_or_default();
    LINK_FIRST.iter().any(|name| software.starts_with(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_told_by_their_identification() {
        for draft in ["AsyncSSH_2.24.1", "libssh_0.11.1", "libssh-0.6.3", "ssh2js1.17.0", "phpseclib_3.0 (openssl)", "WinSCP_release_6.5"] {
            assert!(sends_link_first(format!("SSH-2.0-{draft}").as_bytes()), "{draft}");
        }
        for other in
            ["OpenSSH_9.2p1 Debian-2", "libssh2_1.11.1", "paramiko_5.1.0", "Go", "PuTTY_Release_0.78", "SSHJ_0.40.0", "Twisted_25.5"]
        {
            assert!(!sends_link_first(format!("SSH-2.0-{other}").as_bytes()), "{other}");
        }
        assert!(!sends_link_first(b"") && !sends_link_first(b"SSH-1.99-libssh_0.1"));
    }
}
