//! The section `[url_previews]` of the configuration.

runtime::options! {
    /// Previews of web pages that people link to. The server fetches such a page from wherever
    /// it is, so its site learns that somebody here talks about it: clients never ask for
    /// links in encrypted rooms unless their user wants it.
    pub struct PreviewOptions in "url_previews" {
        /// Whether there are any. Addresses that outgoing.private_networks does not list are never
        /// reached, whatever a page or its name leads to.
        pub enabled: bool = false,
        /// How much of a page is looked at, in bytes.
        pub max_page_bytes: u64 = 1_048_576,
        /// The longest picture that is copied, in bytes.
        pub max_image_bytes: u64 = 5_242_880,
        /// How long a page may take to come, and how long its picture, in seconds.
        pub timeout: u64 = 10,
        /// How many redirects are followed.
        pub max_redirects: u8 = 5,
        /// How long a preview is kept before the page is fetched again, in seconds.
        pub lifetime: u64 = 3_600,
        /// How long the copies of pictures are kept, in seconds.
        pub image_lifetime: u64 = 1_209_600,
        /// How many bytes of pictures are kept; the oldest are removed first.
        pub max_image_cache_bytes: u64 = 1_073_741_824,
        /// In which languages pages are asked for, the preferred one first, "de" for instance.
        pub languages: Vec<String> = vec!["en".to_owned()],
    }
}
