//! The section `[application_services]` of the configuration.

use std::path::PathBuf;

runtime::options! {
    /// Bridges and other application services.
    pub struct AppservicesOptions in "application_services" {
        /// Their registration files, YAML as the services write it; of a folder all files that
        /// end in .yaml or .yml.
        pub registrations: Vec<PathBuf> = Vec::new(),
        /// The longest wait before a service that failed is tried again, in seconds. The first
        /// wait is one second, and each is twice as long as the one before. Nothing is given up.
        pub retry_delay_max: u64 = 300,
    }
}
