//! The section `[outgoing]` of the configuration.

use std::path::PathBuf;

use runtime::Network;

runtime::options! {
    /// Every request that this server makes.
    pub struct OutgoingOptions in "outgoing" {
        /// PEM files of certificate authorities to trust besides those of the system.
        pub trusted_roots: Vec<PathBuf> = Vec::new(),
        /// Private networks that may be reached, "127.0.0.0/8" for instance; also without TLS,
        /// where plain HTTP is asked for. All others are refused, so that nobody can use the
        /// server to look into your network.
        pub private_networks: Vec<Network> = Vec::new(),
    }
}
