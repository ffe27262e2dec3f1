//! Fetches the keys that a server publishes: one GET over HTTPS, and only a plain 200 is accepted.

use std::time::Duration;

use hyper::body::Bytes;
use hyper::http::uri::Scheme;
use hyper::{Request, StatusCode, Uri, header};
use sally_proto::text::printable;
use tokio::time::Instant;

use super::ANSWER_MAX;
use crate::net::https::{Https, HttpsError, HttpsLimits, chain};
use crate::net::network::NetworkSettings;

/// The placeholder of the user in a template.
const USER: &str = "{user}";
/// How many redirects are followed.
const REDIRECTS_MAX: usize = 3;
/// The longest reason in characters: some of them quote a server.
const REASON_MAX: usize = 300;

/// Checks a template for `--keys-url`: an https address with `{user}` in its path or query.
///
/// # Errors
/// What is wrong with it.
pub fn parse_template(template: &str) -> Result<String, String> {
    url_of(template, "user").map(|_| template.to_owned())
}

/// Puts a user's name, percent-escaped (RFC 3986 §2.1), into a template.
///
/// # Errors
/// What is wrong with the template or the name.
pub fn url_of(template: &str, user: &str) -> Result<String, String> {
    if matches!(user, "" | "." | "..") {
        return Err("the user has no name".into());
    }
    if !template.contains(USER) {
        return Err(format!("the address has no {USER} in it"));
    }
    if template.contains('#') {
        return Err("a URL with a # is not accepted, because the part after it is never sent".into());
    }
    let (_, rest) = template.split_once("://").ok_or("only https:// URLs are accepted")?;
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.contains(USER) {
        return Err(format!("{USER} stands in the host"));
    }
    let url = template.replace(USER, &escape(user));
    check(&parse(&url)?)?;
    Ok(url)
}

fn escape(user: &str) -> String {
    user.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
        text
    })
}

fn parse(url: &str) -> Result<Uri, String> {
    url.parse().map_err(|error| format!("not an address: {error}"))
}

fn check(uri: &Uri) -> Result<(), String> {
    if uri.scheme() != Some(&Scheme::HTTPS) {
        return Err("only https:// URLs are accepted".into());
    }
    if uri.authority().is_none_or(|authority| authority.host().is_empty() || authority.as_str().contains('@')) {
        return Err("the address needs a host, and no user before it".into());
    }
    Ok(())
}

/// Returns the body behind an https address.
///
/// # Errors
/// Why there is none, in words fit for a terminal.
pub(super) async fn fetch(url: &str, network: &NetworkSettings, deadline: Duration) -> Result<Vec<u8>, String> {
    let limits = HttpsLimits { answer: ANSWER_MAX, deadline: Instant::now() + deadline };
    let fetched = follow(url, network, limits).await.map_err(|error| match error {
        HttpsError::Late => format!("no complete answer within {} s", deadline.as_secs_f32()),
        other => other.to_string(),
    });
    fetched.map_err(|reason| printable(&reason.chars().take(REASON_MAX).collect::<String>()))
}

async fn follow(url: &str, network: &NetworkSettings, limits: HttpsLimits) -> Result<Vec<u8>, HttpsError> {
    let https = Https::new(network)?;
    let mut uri = parse(url)?;
    for _ in 0..=REDIRECTS_MAX {
        check(&uri)?;
        let request = Request::get(&uri).header(header::ACCEPT, "text/plain").body(Bytes::new()).map_err(|error| chain(&error))?;
        let answer = https.send(request, limits).await?;
        match answer.status() {
            StatusCode::OK => return Ok(answer.body().await?.to_vec()),
            status if is_redirect(status) => {
                let to = answer.headers().get(header::LOCATION).and_then(|to| to.to_str().ok()).and_then(|to| to.parse().ok());
                uri = same_host(&uri, to.ok_or_else(|| format!("the server answered {status} without a Location"))?)?;
            }
            status => return Err(format!("the server answered {status}").into()),
        }
    }
    Err(format!("more than {REDIRECTS_MAX} redirects").into())
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Returns the target of a redirect: an address of the same host and port, or a path from its root.
fn same_host(from: &Uri, to: Uri) -> Result<Uri, String> {
    if to.authority().is_none() {
        let mut parts = from.clone().into_parts();
        parts.path_and_query = to.into_parts().path_and_query;
        return Uri::from_parts(parts).map_err(|error| chain(&error));
    }
    check(&to)?;
    let port = |uri: &Uri| uri.port_u16().unwrap_or(443);
    let same = to.host().zip(from.host()).is_some_and(|(to, from)| to.eq_ignore_ascii_case(from)) && port(&to) == port(from);
    if same { Ok(to) } else { Err(format!("redirected to another host: {}", to.authority().map_or("", |authority| authority.as_str()))) }
}
