//! Certificates by which an authority on the internet sees whose a name is (RFC 8737).

use std::{collections::HashMap, fmt, sync::Arc};

use parking_lot::Mutex;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::{
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    sign::CertifiedKey,
};

use crate::CertificateError;

/// The protocol with which an authority asks, as ALPN names it.
pub const PROTOCOL: &[u8] = b"acme-tls/1";

/// The answers to questions that are being asked. Clones share them.
#[derive(Clone, Default)]
pub struct Challenges(Arc<Mutex<HashMap<String, Arc<CertifiedKey>>>>);

impl fmt::Debug for Challenges {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.lock().keys()).finish()
    }
}

impl Challenges {
    /// The certificate that answers for a name; none if nobody asks.
    pub fn answer(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        self.0.lock().get(&name.to_ascii_lowercase()).cloned()
    }

    /// Prepares the answer for a name: `digest` is the SHA-256 of the key authorisation.
    pub(crate) fn prepare(&self, name: &str, digest: &[u8; 32]) -> Result<(), CertificateError> {
        let key = KeyPair::generate()?;
        let mut wanted = CertificateParams::new([name.to_owned()])?;
        wanted.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
        let made = wanted.self_signed(&key)?;
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let signing = ring::sign::any_supported_type(&private);
        let signing = signing.map_err(|error| CertificateError::Refused(error.to_string()))?;
        // Not checked as others are: the extension is one that nobody else may accept.
        let certified = CertifiedKey::new(vec![made.der().clone()], signing);
        self.0
            .lock()
            .insert(name.to_ascii_lowercase(), Arc::new(certified));
        Ok(())
    }

    /// Forgets the answer for a name.
    pub(crate) fn forget(&self, name: &str) {
        self.0.lock().remove(&name.to_ascii_lowercase());
    }
}
