//! What an administrator may let clients know.

runtime::options! {
    /// What clients and servers find at /.well-known/matrix on this server. Needed where the server's name
    /// is a domain that points here, while clients shall use another address.
    pub struct WellKnownOptions in "well_known" {
        /// The address that clients use, "https://matrix.council.example" for instance. The links
        /// of invitations begin with it. Empty: /.well-known/matrix/client is not served, and links
        /// begin with a listener's own address.
        pub client: String = String::new(),
        /// Where other servers reach this one, "matrix.council.example:443" for instance, if
        /// not at port 8448 of its name. Served by listeners that serve "federation". Empty:
        /// /.well-known/matrix/server is not served.
        pub server: String = String::new(),
        /// The address of a page with help for people. Empty: none.
        pub support_page: String = String::new(),
        /// The e-mail address of the administrators. Empty: none.
        pub support_email: String = String::new(),
        /// The Matrix id of the administrators. Empty: none.
        pub support_user: String = String::new(),
    }
}

runtime::options! {
    /// Calls of many people, which clients carry over servers beside this one.
    pub struct RtcOptions in "rtc" {
        /// The addresses of LiveKit authorisation services (lk-jwt-service), the preferred one
        /// first, "https://livekit.council.example" for instance. Clients that are signed in get
        /// them, and /.well-known/matrix/client says them. Empty: no such calls.
        pub livekit_service_urls: Vec<String> = Vec::new(),
    }
}
