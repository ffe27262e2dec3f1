//! Reads from the environment how to reach a server.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

/// How to reach a server on the network; filled in by config.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct NetworkSettings {
    /// A file of certificate authorities (PEM) to trust instead of the built-in ones.
    pub ssl_cert_file: Option<PathBuf>,
    /// The proxy for https addresses: `http://[USER:PASSWORD@]HOST[:PORT]`. Secret if it has a password.
    pub https_proxy: Option<String>,
    /// The hosts to reach without the proxy: names (with their subdomains), addresses and blocks, separated by commas, or `*`.
    pub no_proxy: Option<String>,
}

impl NetworkSettings {
    /// Reads `SSL_CERT_FILE`, `https_proxy` and `no_proxy` (in small letters, else in capitals). An empty variable counts as unset.
    pub fn from_env(variable: &impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        // A value that isn't UTF-8 is no proxy's address: it is kept, so that it is refused rather than ignored.
        let text = |small: &str, capital: &str| set(small).or_else(|| set(capital)).map(|value| value.to_string_lossy().into_owned());
        Self {
            ssl_cert_file: set("SSL_CERT_FILE").map(PathBuf::from),
            https_proxy: text("https_proxy", "HTTPS_PROXY"),
            no_proxy: text("no_proxy", "NO_PROXY"),
        }
    }
}

/// Shows the settings without the proxy's address, which may have a password.
impl fmt::Debug for NetworkSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let proxy = self.https_proxy.as_ref().map(|_| "…");
        let mut debug = f.debug_struct("NetworkSettings");
        debug.field("ssl_cert_file", &self.ssl_cert_file).field("https_proxy", &proxy).field("no_proxy", &self.no_proxy).finish()
    }
}
