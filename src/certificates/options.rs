//! The section `[certificates]` of the configuration.

use serde::{Deserialize, Serialize};

/// Who vouches for this server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Issuer {
    /// An authority of its own.
    #[default]
    Local,
    /// An authority on the internet.
    Acme,
}

runtime::options! {
    /// Certificates that the server makes or gets by itself, and renews: tls/server.pem in the data
    /// folder, which listeners name as certificate and as key.
    pub struct CertificateOptions in "certificates" {
        /// The names and addresses by which apps and other servers reach this one,
        /// "matrix.council.example" for instance. Empty: certificates are somebody else's matter.
        pub names: Vec<String> = Vec::new(),
        /// Who vouches for them: "local", an authority that the server makes, whose tls/root.pem is
        /// installed on people's devices; or "acme", one on the internet, which must reach port
        /// 443 of each name.
        pub issuer: Issuer = Issuer::Local,
        /// The directory of the authority on the internet. The default is Let's Encrypt's, whose
        /// terms you accept with it.
        pub acme_directory: String = "https://acme-v02.api.letsencrypt.org/directory".to_owned(),
        /// The e-mail address that it writes to when something is wrong. Empty: none.
        pub acme_email: String = String::new(),
    }
}
