//! The section `[rooms]` of the configuration.

runtime::options! {
    /// What rooms are like when their creator does not say, and what clients may do there.
    pub struct RoomsOptions in "rooms" {
        /// The room version of new rooms: "1" to "12".
        pub default_version: String = "12".to_owned(),
        /// Whether partners, people from outside, may begin direct chats and be invited into
        /// them, although they make no rooms and come only into rooms that were opened to them.
        pub partner_direct_chats: bool = false,
        /// Whether people see who of those whom they share a room with is there.
        pub presence: bool = true,
        /// After how many seconds somebody who does nothing is shown as away.
        pub presence_idle_after: u64 = 300,
        /// How many seconds after their last sync somebody is shown as offline.
        pub presence_offline_after: u64 = 30,
        /// How far ahead clients may schedule an event, in seconds.
        pub delayed_events_max_delay: u64 = 86_400,
        /// How many scheduled events one user may have at a time. 0: nobody can schedule any.
        pub delayed_events_per_user: u64 = 100,
    }
}
