//! The section `[rooms]` of the configuration.

runtime::options! {
    /// What rooms are like when their creator does not say.
    pub struct RoomsOptions in "rooms" {
        /// The room version of new rooms: "6" to "12".
        pub default_version: String = "12".to_owned(),
        /// Whether people see who of those whom they share a room with is there.
        pub presence: bool = true,
        /// After how many seconds somebody who does nothing is shown as away.
        pub presence_idle_after: u64 = 300,
        /// How many seconds after their last sync somebody is shown as offline.
        pub presence_offline_after: u64 = 30,
    }
}
