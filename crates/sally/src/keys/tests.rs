//! Tests every way in which a source can fail, and its message.

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use sally_proto::authorized_keys::{Enforced, KeyRing};
use sally_proto::error::Fault;
use tempfile::NamedTempFile;

use super::*;
use crate::net::https::testing::{TestReply, TestServer, proxy};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c";
const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIE5dw6ofRdfVqNUZsNMfszLjYqRtO43ol32D1uPybOU";
/// Long enough for any exchange on loopback, on a busy machine.
const SOON: Duration = Duration::from_secs(15);

async fn load_all(sources: &[KeySource], network: &NetworkSettings) -> Result<KeyRing, Fault> {
    Ok(load_within(sources, network, Enforced::all(), SourceDeadlines { read: SOON, fetch: SOON }).await?.0)
}

async fn load_one(source: KeySource) -> Result<KeyRing, String> {
    load_all(&[source], &NetworkSettings::default()).await.map_err(|fault| fault.to_string())
}

fn source(server: &TestServer, user: &str) -> KeySource {
    KeySource::Url { user: user.into(), template: format!("https://localhost:{}/{{user}}.keys", server.port), rules: vec![] }
}

/// Returns the result of fetching from a server that replies like this.
async fn answered(reply: impl Fn(&str, u16) -> TestReply + Send + Sync + 'static) -> Result<KeyRing, String> {
    let server = TestServer::start(reply).await;
    let result = load_all(&[source(&server, "u")], &server.network()).await;
    let url = format!("authorized keys invalid: https://localhost:{}/u.keys ", server.port);
    result.map_err(|fault| fault.to_string().strip_prefix(&url).expect("the source is named").to_owned())
}

fn file(content: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(content).unwrap();
    file
}

fn of(file: &NamedTempFile) -> KeySource {
    KeySource::File(file.path().to_owned())
}

fn variable(text: &str) -> KeySource {
    KeySource::Env(text.into())
}

#[tokio::test]
async fn no_source_at_all_is_an_error() {
    assert_eq!(load_all(&[], &NetworkSettings::default()).await.unwrap_err(), Fault::KeysUnnamed);
}

#[tokio::test]
async fn a_file_that_fails_is_named_with_the_reason() {
    let error = |source| async { load_one(source).await.unwrap_err() };
    assert_eq!(error(KeySource::File("/no/such".into())).await, "authorized keys invalid: /no/such does not exist.");
    assert_eq!(error(KeySource::File("/".into())).await, "authorized keys invalid: / is not readable. (Is a directory)");
    let empty = file(b"# nobody yet\n");
    assert_eq!(error(of(&empty)).await, format!("authorized keys invalid: {} contained no keys.", empty.path().display()));
    let bad = file(format!("{KEY}\nnonsense {OTHER}\n").as_bytes());
    let words = format!("authorized keys invalid: {} contains unparseable data. (line 2: ", bad.path().display());
    assert!(error(of(&bad)).await.starts_with(&words));
    let large = file(KEY.as_bytes());
    large.as_file().set_len(FILE_MAX + 1).unwrap();
    assert!(error(of(&large)).await.ends_with("is not readable. (longer than 16777216 bytes)"));
    assert!(error(KeySource::File("/dev/zero".into())).await.ends_with("is not readable. (longer than 16777216 bytes)"));
}

#[tokio::test]
async fn the_first_source_that_fails_fails_all() {
    let good = file(KEY.as_bytes());
    let sources = [of(&good), variable(OTHER)];
    assert_eq!(load_all(&sources, &NetworkSettings::default()).await.unwrap().len(), 2);
    for bad in [KeySource::File("/no/such".into()), variable(""), variable("junk")] {
        assert!(load_all(&[of(&good), bad.clone()], &NetworkSettings::default()).await.is_err(), "{bad:?}");
    }
}

#[tokio::test]
async fn a_fifo_of_a_shell_works() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let writer = std::thread::spawn({
        let fifo = fifo.clone();
        move || std::fs::write(fifo, format!("{KEY}\n"))
    });
    assert_eq!(load_one(KeySource::File(fifo)).await.unwrap().len(), 1);
    writer.join().unwrap().unwrap();
}

#[tokio::test]
async fn a_variable_takes_newlines_and_backslash_n() {
    for text in [format!("{KEY}\n{OTHER}"), format!("{KEY}\\n{OTHER}"), format!("{KEY} me\\n\n{OTHER}\n\\n")] {
        assert_eq!(load_one(variable(&text)).await.unwrap().len(), 2, "{text}");
    }
    let ring = load_one(variable(&format!("command=\"printf 'a\\n\\\"b\\n'\" {KEY}\\n{OTHER}"))).await.unwrap();
    let (_, first) = ring.entries().next().unwrap();
    assert_eq!(first.options().command.as_deref(), Some("printf 'a\\n\"b\\n'"));
    assert_eq!(ring.len(), 2);
    assert_eq!(load_one(variable(" ")).await.unwrap_err(), "authorized keys invalid: AUTHORIZED_KEYS contained no keys.");
    assert!(load_one(KeySource::Env(OsString::from_vec(b"\xff".to_vec()))).await.is_err());
}

#[tokio::test]
async fn a_server_that_answers_200_with_keys_is_a_source() {
    let server = TestServer::start(|_, _| TestReply::ok(&format!("{KEY}\n{OTHER} laptop\n"))).await;
    let ring = load_all(&[source(&server, "octo/cat é")], &server.network()).await.unwrap();
    assert_eq!(ring.len(), 2);
    let url = format!("https://localhost:{}/octo%2Fcat%20%C3%A9.keys", server.port);
    assert!(ring.entries().all(|(source, _)| source == url));
    let requests = server.requests.lock().unwrap();
    assert!(requests[0].starts_with("GET /octo%2Fcat%20%C3%A9.keys HTTP/1.1\r\n"), "{requests:?}");
    assert!(requests[0].contains(&format!("host: localhost:{}\r\n", server.port)), "{requests:?}");
}

#[tokio::test]
async fn any_framing_of_the_answer_will_do() {
    let chunked = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{KEY}\r\n0\r\n\r\n", KEY.len());
    assert_eq!(answered(move |_, _| TestReply::Say(chunked.clone().into())).await.unwrap().len(), 1);
    let until_closed = format!("HTTP/1.0 200 OK\r\n\r\n{KEY}\n");
    assert_eq!(answered(move |_, _| TestReply::Say(until_closed.clone().into())).await.unwrap().len(), 1);
}

#[tokio::test]
async fn anything_but_200_fails() {
    for status in
        ["404 Not Found", "500 Internal Server Error", "204 No Content", "206 Partial Content", "401 Unauthorized", "304 Not Modified"]
    {
        let error = answered(move |_, _| TestReply::status(status)).await.unwrap_err();
        assert_eq!(error, format!("could not be fetched. (the server answered {status})"));
    }
}

#[tokio::test]
async fn an_answer_that_is_no_list_of_bare_keys_fails() {
    assert_eq!(answered(|_, _| TestReply::ok("")).await.unwrap_err(), "contained no keys.");
    assert_eq!(answered(|_, _| TestReply::ok("# nothing here\n")).await.unwrap_err(), "contained no keys.");
    let html = answered(|_, _| TestReply::ok("<!DOCTYPE html>\n<html></html>\n")).await.unwrap_err();
    assert!(html.starts_with("contains unparseable data. (line 1: "), "{html}");
    for options in ["no-pty", "cert-authority", "command=\"sh\""] {
        let error = answered(move |_, _| TestReply::ok(&format!("{OTHER}\n{options} {KEY}\n"))).await.unwrap_err();
        assert!(error.starts_with("contains unparseable data. (line 2: has options"), "{error}");
    }
}

#[tokio::test]
async fn an_answer_may_be_64_kib_long_and_no_longer() {
    let body = |length: usize| format!("{KEY}\n#{}", "x".repeat(length - KEY.len() - 2));
    assert_eq!(answered(move |_, _| TestReply::ok(&body(ANSWER_MAX))).await.unwrap().len(), 1);
    let error = answered(move |_, _| TestReply::ok(&body(ANSWER_MAX + 1))).await.unwrap_err();
    assert_eq!(error, "could not be fetched. (the answer is longer than 65536 bytes)");
    let endless = answered(|_, _| TestReply::Stall(format!("HTTP/1.1 200 OK\r\n\r\n{KEY}\n{}", "#\n".repeat(ANSWER_MAX)).into()));
    assert_eq!(endless.await.unwrap_err(), "could not be fetched. (the answer is longer than 65536 bytes)");
}

#[tokio::test]
async fn an_answer_that_breaks_off_fails() {
    let short = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{KEY}\n", KEY.len() + 100);
    let unended = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{KEY}\r\n", KEY.len());
    let unclosed = format!("HTTP/1.0 200 OK\r\n\r\n{KEY}\n");
    for bytes in [short.clone(), unended] {
        let error = answered(move |_, _| TestReply::Say(bytes.clone().into())).await.unwrap_err();
        assert!(error.starts_with("could not be fetched. (the answer is incomplete"), "{error}");
    }
    for bytes in [short, unclosed, "HTTP/1.1 200 OK\r\ncontent-le".into(), String::new()] {
        let error = answered(move |_, _| TestReply::Break(bytes.clone().into())).await.unwrap_err();
        assert!(error.starts_with("could not be fetched. ("), "{error}");
    }
}

#[tokio::test]
async fn redirects_stay_on_the_host() {
    let to_here = |hops: usize| {
        move |path: &str, port: u16| match path.len() {
            length if length < "/u.keys".len() + hops => TestReply::moved(&format!("https://LOCALHOST:{port}{path}x")),
            _ => TestReply::ok(KEY),
        }
    };
    assert_eq!(answered(to_here(3)).await.unwrap().len(), 1);
    assert_eq!(answered(to_here(4)).await.unwrap_err(), "could not be fetched. (more than 3 redirects)");
    let by_path = |path: &str, _| if path == "/u.keys" { TestReply::moved("/v.keys?x=1") } else { TestReply::ok(KEY) };
    assert_eq!(answered(by_path).await.unwrap().len(), 1);
    for to in ["https://127.0.0.1/x", "https://localhost/x", "https://evil.example/u.keys"] {
        let error = answered(move |_, _| TestReply::moved(to)).await.unwrap_err();
        assert!(error.starts_with("could not be fetched. (redirected to another host: "), "{error}");
    }
    let error = answered(|_, port| TestReply::moved(&format!("http://localhost:{port}/x"))).await.unwrap_err();
    assert_eq!(error, "could not be fetched. (only https:// URLs are accepted)");
    let error = answered(|_, _| TestReply::status("302 Found")).await.unwrap_err();
    assert_eq!(error, "could not be fetched. (the server answered 302 Found without a Location)");
}

#[tokio::test]
async fn a_server_that_takes_too_long_fails() {
    for head in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nssh-"] {
        let server = TestServer::start(move |_, _| TestReply::Stall(head.into())).await;
        let began = Instant::now();
        let result = load_within(
            &[source(&server, "u")],
            &server.network(),
            Enforced::all(),
            SourceDeadlines { read: SOON, fetch: Duration::from_millis(500) },
        )
        .await;
        assert!(result.unwrap_err().to_string().ends_with("could not be fetched. (no complete answer within 0.5 s)"));
        assert!(began.elapsed() < SOON);
    }
}

#[tokio::test]
async fn a_certificate_that_does_not_fit_fails() {
    let server = TestServer::start_as("elsewhere.example", |_, _| TestReply::ok(KEY)).await;
    let error = load_all(&[source(&server, "u")], &server.network()).await.unwrap_err().to_string();
    assert!(error.contains("could not be fetched. (invalid peer certificate"), "{error}");
    // A certificate from an unknown authority is refused too.
    let server = TestServer::start(|_, _| TestReply::ok(KEY)).await;
    let error = load_all(&[source(&server, "u")], &NetworkSettings::default()).await.unwrap_err().to_string();
    assert!(error.contains("could not be fetched. (invalid peer certificate: UnknownIssuer"), "{error}");
    assert!(server.requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn roots_of_the_users_own_have_to_be_usable() {
    let server = TestServer::start(|_, _| TestReply::ok(KEY)).await;
    let nothing = file(b"no certificate\n");
    for roots in [Path::new("/no/such"), nothing.path()] {
        let network = NetworkSettings { ssl_cert_file: Some(roots.to_owned()), ..NetworkSettings::default() };
        let error = load_all(&[source(&server, "u")], &network).await.unwrap_err().to_string();
        assert!(error.contains("could not be fetched. (SSL_CERT_FILE "), "{error}");
    }
}

#[tokio::test]
async fn a_proxy_is_asked_for_a_tunnel() {
    let server = TestServer::start(|_, _| TestReply::ok(KEY)).await;
    let (port, requests) = proxy("200 Connection established").await;
    let network = NetworkSettings { https_proxy: Some(format!("http://user:secret@127.0.0.1:{port}")), ..server.network() };
    assert_eq!(load_all(&[source(&server, "u")], &network).await.unwrap().len(), 1);
    let head = requests.lock().unwrap().pop().unwrap();
    assert!(head.starts_with(&format!("CONNECT localhost:{} HTTP/1.1\r\n", server.port)), "{head}");
    assert!(head.contains("proxy-authorization: Basic dXNlcjpzZWNyZXQ=\r\n"), "{head}");
    // no_proxy bypasses the proxy.
    let past = NetworkSettings { no_proxy: Some("example.com,localhost".into()), ..network };
    assert_eq!(load_all(&[source(&server, "u")], &past).await.unwrap().len(), 1);
    assert!(requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_proxy_that_refuses_or_makes_no_sense_fails_without_its_password() {
    let server = TestServer::start(|_, _| TestReply::ok(KEY)).await;
    let (port, _) = proxy("407 Proxy Authentication Required").await;
    for address in [
        format!("http://u:secret@127.0.0.1:{port}"),
        "https://u:secret@127.0.0.1".into(),
        "socks5://u:secret@h".into(),
        "http://u:secret@[".into(),
    ] {
        let network = NetworkSettings { https_proxy: Some(address.clone()), ..server.network() };
        let error = load_all(&[source(&server, "u")], &network).await.unwrap_err().to_string();
        assert!(error.contains("could not be fetched. (") && error.contains("proxy") && !error.contains("secret"), "{address}: {error}");
    }
    assert!(server.requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_host_that_is_not_there_fails() {
    let server = TestServer::start(|_, _| TestReply::ok(KEY)).await;
    let source = KeySource::Url { user: "u".into(), template: "https://127.0.0.1:1/{user}".into(), rules: vec![] };
    let error = load_all(&[source], &server.network()).await.unwrap_err().to_string();
    assert!(error.contains("could not be fetched. (127.0.0.1 port 1: Connection refused"), "{error}");
}

#[test]
fn a_template_is_an_https_address_with_a_user_in_it() {
    assert_eq!(url_of(GITHUB, "a b/../c?d").unwrap(), "https://github.com/a%20b%2F..%2Fc%3Fd.keys");
    assert_eq!(url_of("https://[::1]:8443/k?u={user}", "x").unwrap(), "https://[::1]:8443/k?u=x");
    assert!(parse_template(GITHUB).is_ok());
    let bad = [
        "http://github.com/{user}.keys",
        "https://github.com/keys",
        "https://{user}.github.com/keys",
        "https://me:secret@github.com/{user}",
        "https:///{user}",
        "github.com/{user}",
        "file:///etc/{user}",
        "https://github.com/ {user}",
        "https://github.com/#{user}",
        "",
    ];
    for template in bad {
        assert!(parse_template(template).is_err(), "{template}");
    }
    for user in ["", ".", ".."] {
        assert!(url_of(GITHUB, user).is_err(), "{user}");
    }
}

#[test]
fn the_environment_is_taken_in_small_letters_first_and_empty_is_unset() {
    let of = |pairs: &'static [(&str, &str)]| {
        NetworkSettings::from_env(&|name: &str| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value)))
    };
    assert_eq!(of(&[]), NetworkSettings::default());
    assert_eq!(of(&[("SSL_CERT_FILE", ""), ("https_proxy", ""), ("NO_PROXY", "")]), NetworkSettings::default());
    let network = of(&[("HTTPS_PROXY", "http://b"), ("https_proxy", "http://a"), ("NO_PROXY", "c"), ("SSL_CERT_FILE", "/roots")]);
    assert_eq!(network.https_proxy.as_deref(), Some("http://a"));
    assert_eq!(network.no_proxy.as_deref(), Some("c"));
    assert_eq!(network.ssl_cert_file.as_deref(), Some(Path::new("/roots")));
    let secret = NetworkSettings { https_proxy: Some("http://me:secret@proxy".into()), ..network };
    assert!(!format!("{secret:?}").contains("secret"));
}

#[tokio::test]
async fn a_fifo_that_nobody_writes_to_is_not_waited_for_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("keys");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    let deadlines = SourceDeadlines { read: Duration::from_millis(50), fetch: SOON };
    let fault = load_within(&[KeySource::File(fifo.clone())], &NetworkSettings::default(), Enforced::all(), deadlines).await.unwrap_err();
    let said = format!("authorized keys invalid: {} is not readable. (it did not end within 0.05 s)", fifo.display());
    assert_eq!(fault.to_string(), said);
}
