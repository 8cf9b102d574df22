//! The section `[rooms]` of the configuration.

runtime::options! {
    /// What rooms are like when their creator does not say.
    pub struct RoomsOptions in "rooms" {
        /// The room version of new rooms: "6" to "12".
        pub default_version: String = "12".to_owned(),
    }
}
