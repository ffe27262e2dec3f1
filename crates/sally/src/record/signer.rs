//! Signs the record with the host key.

use sally_proto::record::{SignError, Signer};
use ssh_key::{HashAlg, PrivateKey, SshSig};

/// Signs checkpoints and the seal with the session's host key.
pub(super) struct HostKeySigner {
    key: PrivateKey,
    public: String,
}

impl HostKeySigner {
    pub(super) fn new(key: PrivateKey) -> Result<Self, SignError> {
        let mut public = key.public_key().clone();
        public.set_comment("");
        let public = public.to_openssh().map_err(|error| SignError(error.to_string()))?;
        Ok(Self { key, public })
    }
}

impl Signer for HostKeySigner {
    fn public_key(&self) -> String {
        self.public.clone()
    }

    fn sign(&self, namespace: &str, message: &[u8]) -> Result<SshSig, SignError> {
        self.key.sign(namespace, HashAlg::Sha512, message).map_err(|error| SignError(error.to_string()))
    }
}

impl std::fmt::Debug for HostKeySigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("HostKeySigner").field(&self.public).finish()
    }
}
