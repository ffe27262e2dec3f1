//! Certificates.

use super::Outcome::{BadLine, Denied, In};
use super::Visitor::{Certificate as Brings, Made};
use super::{CERTIFICATE, Case, Certificate, case};

const C: Certificate = CERTIFICATE;

pub const CASES: &[Case] = &[
    case("a certificate for the account", b"cert-authority {ca}\n", In).with(Brings(C)).prints("PTY FOO="),
    case("a certificate, its authority not marked as one", b"{ca}\n", Denied).with(Brings(C)),
    case("a certificate of another authority", b"cert-authority {ca2}\n", Denied).with(Brings(C)),
    case("a certificate, only its key listed", b"{ed}\n", Denied).with(Brings(C)),
    case("a forged certificate", b"cert-authority {ca}\n", Denied).with(Brings(Certificate { forged: true, ..C })),
    case("a host's certificate", b"cert-authority {ca}\n", Denied).with(Brings(Certificate { host: true, ..C })),
    case("an expired certificate", b"cert-authority {ca}\n", Denied).with(Brings(Certificate { valid: (-7200, -3600), ..C })),
    case("a certificate of tomorrow", b"cert-authority {ca}\n", Denied).with(Brings(Certificate { valid: (3600, 7200), ..C })),
    case("a certificate for another account", b"cert-authority {ca}\n", Denied).with(Brings(Certificate { principals: &["alice"], ..C })),
    case("a certificate for several accounts", b"cert-authority {ca}\n", In)
        .with(Brings(Certificate { principals: &["alice", "root"], ..C })),
    case("a certificate for a pattern", b"cert-authority {ca}\n", Denied).with(Brings(Certificate { principals: &["r*"], ..C })),
    case("a certificate for nobody in particular", b"cert-authority {ca}\n", Denied)
        .with(Brings(Certificate { principals: &[], ..C }))
        .sshd_differs("sshd before 10.3 takes a certificate without principals for everybody's"),
    case("a certificate for nobody, principals wanted", b"cert-authority,principals=\"root\" {ca}\n", Denied)
        .with(Brings(Certificate { principals: &[], ..C })),
    case("principals", b"cert-authority,principals=\"admin\" {ca}\n", In).with(Brings(Certificate { principals: &["admin"], ..C })),
    case("principals, a list", b"cert-authority,principals=\"ops,admin\" {ca}\n", In)
        .with(Brings(Certificate { principals: &["x", "admin"], ..C })),
    case("principals in place of the account", b"cert-authority,principals=\"admin\" {ca}\n", Denied).with(Brings(C)),
    case("principals are no patterns", b"cert-authority,principals=\"ad*\" {ca}\n", Denied)
        .with(Brings(Certificate { principals: &["admin"], ..C })),
    case("principals with a space", b"cert-authority,principals=\"ops, admin\" {ca}\n", Denied)
        .with(Brings(Certificate { principals: &["admin"], ..C })),
    case("principals after an empty one", b"cert-authority,principals=\"ops,,admin\" {ca}\n", Denied)
        .with(Brings(Certificate { principals: &["admin"], ..C })),
    case("empty principals", b"cert-authority,principals=\"\" {ca}\n", Denied).with(Brings(C)),
    case("principals twice", b"cert-authority,principals=\"a\",principals=\"root\" {ca}\n", BadLine).with(Brings(C)),
    case("a certificate without permit-pty", b"cert-authority {ca}\n", In)
        .with(Brings(Certificate { extensions: &[], ..C }))
        .prints("FOO="),
    case("a certificate with permit-pty alone", b"cert-authority {ca}\n", In)
        .with(Brings(Certificate { extensions: &["permit-pty"], ..C }))
        .prints("PTY FOO="),
    case("a certificate with permit-pty, a line without", b"cert-authority,no-pty {ca}\n", In).with(Brings(C)).prints("FOO="),
    case("a certificate without permit-pty, a line with", b"cert-authority,pty {ca}\n", In)
        .with(Brings(Certificate { extensions: &[], ..C }))
        .prints("FOO="),
    case("a restricted line", b"restrict,cert-authority {ca}\n", In).with(Brings(C)).prints("FOO="),
    case("an unknown extension", b"cert-authority {ca}\n", In)
        .with(Brings(Certificate { extensions: &["permit-everything", "permit-pty"], ..C })),
    case("an unknown critical option", b"cert-authority {ca}\n", Denied)
        .with(Brings(Certificate { critical: &[("only-on-sundays", "yes")], ..C })),
    case("an extension's name as a critical option", b"cert-authority {ca}\n", Denied)
        .with(Brings(Certificate { critical: &[("permit-pty", "")], ..C })),
    case("a critical option's name as an extension", b"cert-authority {ca}\n", In)
        .with(Brings(Certificate { extensions: &["force-command", "permit-pty"], ..C }))
        .prints("PTY FOO="),
    case("force-command", b"cert-authority {ca}\n", In)
        .with(Brings(Certificate { critical: &[("force-command", "echo by-certificate")], ..C }))
        .prints("by-certificate"),
    case("force-command without a value", b"cert-authority {ca}\n", Denied)
        .with(Brings(Certificate { critical: &[("force-command", "")], ..C })),
    case("force-command and the same command", b"cert-authority,command=\"echo same\" {ca}\n", In)
        .with(Brings(Certificate { critical: &[("force-command", "echo same")], ..C }))
        .prints("same"),
    case("force-command and another command", b"cert-authority,command=\"echo line\" {ca}\n", Denied)
        .with(Brings(Certificate { critical: &[("force-command", "echo certificate")], ..C })),
    case("a command on the authority's line", b"cert-authority,command=\"echo line\" {ca}\n", In).with(Brings(C)).prints("line"),
    case("source-address of this peer", b"cert-authority {ca}\n", In)
        .with(Brings(Certificate { critical: &[("source-address", "127.0.0.0/8,::1")], ..C })),
    case("source-address of this peer in IPv6", b"cert-authority {ca}\n", In)
        .with(Brings(Certificate { critical: &[("source-address", "127.0.0.0/8,::1")], ..C }))
        .from("::1"),
    case("source-address of another peer", b"cert-authority {ca}\n", Denied)
        .with(Brings(Certificate { critical: &[("source-address", "192.0.2.0/24")], ..C })),
    case("source-address as a pattern", b"cert-authority {ca}\n", Denied)
        .with(Brings(Certificate { critical: &[("source-address", "127.*")], ..C })),
    case("source-address with a negation", b"cert-authority {ca}\n", Denied)
        .with(Brings(Certificate { critical: &[("source-address", "127.0.0.1,!192.0.2.1")], ..C })),
    case("source-address with host bits", b"cert-authority {ca}\n", Denied)
        .with(Brings(Certificate { critical: &[("source-address", "127.0.0.1/8")], ..C })),
    case("source-address with an empty element", b"cert-authority {ca}\n", Denied)
        .with(Brings(Certificate { critical: &[("source-address", "127.0.0.1,")], ..C })),
    case("source-address and from, both fit", b"cert-authority,from=\"127.*\" {ca}\n", In)
        .with(Brings(Certificate { critical: &[("source-address", "127.0.0.1")], ..C })),
    case("source-address fits, from doesn't", b"cert-authority,from=\"192.0.2.1\" {ca}\n", Denied)
        .with(Brings(Certificate { critical: &[("source-address", "127.0.0.1")], ..C })),
    case("verify-required on a plain key's certificate", b"cert-authority {ca}\n", In)
        .with(Brings(Certificate { critical: &[("verify-required", "")], ..C })),
    case("verify-required with a value", b"cert-authority {ca}\n", Denied)
        .with(Brings(Certificate { critical: &[("verify-required", "yes")], ..C })),
    case("an authority's line that has expired", b"cert-authority,expiry-time=\"20200101Z\" {ca}\n", Denied).with(Brings(C)),
    case("a second authority's line that fits", b"cert-authority,principals=\"x\" {ca}\ncert-authority,no-pty {ca}\n", In)
        .with(Brings(C))
        .prints("FOO="),
    case("an RSA authority that signs with SHA-512", b"cert-authority {rsa-ca}\n", In).with(Made("sha512")),
    case("an RSA authority that signs with SHA-1", b"cert-authority {rsa-ca}\n", Denied).with(Made("sha1")),
];
