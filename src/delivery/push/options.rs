//! The section `[push]` of the configuration.

runtime::options! {
    /// Notifications for phones, by way of push gateways.
    pub struct PushOptions in "push" {
        /// The longest wait before a gateway that failed is tried again, in seconds. The first
        /// wait is one second, and each is twice as long as the one before.
        pub retry_delay_max: u64 = 1_800,
        /// How long a notification is worth being sent, in seconds.
        pub give_up_after: u64 = 86_400,
    }
}
