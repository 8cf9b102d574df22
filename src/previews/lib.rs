//! What a page of the web says of itself: its title, description and picture, fetched when
//! somebody asks, and kept for a while.
//!
//! Place in the order: the domain floor, above `media`, in which the pictures are kept. Every
//! request goes over `outgoing`, which looks at each address after its name was resolved, on
//! every redirect too.
//!
//! - [`Previews::preview`] is the one verb. One page is fetched once at a time, however many
//!   ask; what came of it, failures included, is kept ([`mod@cache`]).
//! - [`mod@fetch`] takes a page's beginning and its picture, within bounds of size and time.
//! - [`mod@page`] finds in HTML what a page says of itself, [`mod@oembed`] in what its site
//!   says of it, [`mod@charset`] makes text of bytes.
//! - A preview holds nothing that makes a client ask the page's server: of pictures the copy
//!   on this server, and no other address but the page's own.
//!
//! Never here: a script, a cookie, a request that a reader of the answer could tell from
//! another kind of failure.

mod cache;
mod charset;
mod fetch;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod oembed;
mod options;
mod page;
#[cfg(test)]
#[path = "../../tests/fuzz/seeds.rs"]
mod seeds;

use std::{collections::HashMap, sync::Arc, time::Duration};

use media::{Media, StorageError};
use model::{PreviewRecord, UserSerial};
use outgoing::Outgoing;
use parking_lot::Mutex;
use runtime::{Clock, Lane, LaneError, Metrics};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use store::{Store, StoreError};
use tokio::{sync::Semaphore, time::timeout};
use url::Url;

pub use self::options::PreviewOptions;

/// How many pages are fetched at the same time; more wait within their time.
const AT_ONCE: usize = 8;
/// How many pages may wait to be looked through.
const QUEUE: usize = 64;
/// The longest address of a page, in bytes.
const MAX_URL_BYTES: usize = 2_048;
/// How much longer than a page may take the whole preview may, its picture included.
const WHOLE: u32 = 3;

/// Why there is no preview.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PreviewError {
    /// The operator wants none (404 `M_UNRECOGNIZED`).
    #[error("this server makes no previews")]
    Off,
    /// No page can be asked for with this address (400 `M_INVALID_PARAM`).
    #[error(
        "this is no address of a page: it begins with http:// or https:// and holds no password"
    )]
    Url,
    /// The page was not fetched, for whatever reason (502 `M_UNKNOWN`): which, nobody needs
    /// to know who looks for servers that only this one can reach.
    #[error("the page cannot be fetched")]
    Failed,
    /// Too many pages wait; later it may work.
    #[error(transparent)]
    Busy(#[from] LaneError),
    /// The picture could not be kept.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What [`Previews`] are made of.
pub struct PreviewsParts {
    /// The database.
    pub store: Store,
    /// Where pictures are kept.
    pub media: Media,
    /// The way to the pages.
    pub outgoing: Outgoing,
    /// The time.
    pub clock: Clock,
    /// What the operator chose.
    pub options: PreviewOptions,
    /// Where the lane is measured.
    pub metrics: Metrics,
}

/// Previews of pages. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Previews(Arc<Inner>);

/// By what a page is known.
type UrlHash = [u8; 32];

struct Inner {
    store: Store,
    media: Media,
    outgoing: Outgoing,
    clock: Clock,
    options: PreviewOptions,
    lane: Lane,
    places: Semaphore,
    /// Whoever fetches a page holds its lock: others who want the same find it fetched.
    fetching: Mutex<HashMap<UrlHash, Arc<tokio::sync::Mutex<()>>>>,
}

impl Previews {
    /// Previews of pages.
    pub fn new(parts: PreviewsParts) -> Self {
        Self(Arc::new(Inner {
            lane: Lane::measured("previews", 1, QUEUE, &parts.metrics),
            store: parts.store,
            media: parts.media,
            outgoing: parts.outgoing,
            clock: parts.clock,
            options: parts.options,
            places: Semaphore::new(AT_ONCE),
            fetching: Mutex::default(),
        }))
    }

    /// Whether there are previews at all.
    pub fn are_on(&self) -> bool {
        self.0.options.enabled
    }

    /// What the page at `url` says of itself: a JSON object of Open Graph properties, empty
    /// if it says nothing (client-server API, `GET /media/preview_url`). `at` is a moment for
    /// which the answer should be good, in ms since the Unix epoch; the newest is given if
    /// nothing is known of then.
    ///
    /// # Errors
    /// [`PreviewError`].
    pub async fn preview(&self, url: &str, at: Option<u64>) -> Result<Vec<u8>, PreviewError> {
        let inner = &*self.0;
        if !inner.options.enabled {
            return Err(PreviewError::Off);
        }
        let url = page_url(url)?;
        let hash: UrlHash = Sha256::digest(url.as_str().as_bytes()).into();
        if let Some(known) = inner.known(hash, at).await? {
            return told(known);
        }
        let lock = inner.lock(hash);
        let held = lock.lock().await;
        // Somebody may have fetched it meanwhile.
        let result = match inner.known(hash, at).await {
            Ok(Some(known)) => told(known),
            Ok(None) => inner.fetch_and_keep(hash, url).await,
            Err(error) => Err(error.into()),
        };
        drop(held);
        inner.unlock(hash, lock);
        result
    }

    /// Removes what is too old to be of use: previews, and the copies of pictures. To be
    /// called from time to time.
    ///
    /// # Errors
    /// [`PreviewError`]; what was not removed is removed the next time.
    pub async fn sweep(&self) -> Result<(), PreviewError> {
        let inner = &*self.0;
        inner.forget_old().await?;
        let age = Duration::from_secs(inner.options.image_lifetime);
        let before = inner.clock.now().minus(age).0;
        let media = &inner.media;
        media
            .delete_nobodys(before, inner.options.max_image_cache_bytes)
            .await?;
        Ok(())
    }
}

impl Inner {
    fn lock(&self, hash: UrlHash) -> Arc<tokio::sync::Mutex<()>> {
        self.fetching.lock().entry(hash).or_default().clone()
    }

    /// Forgets a lock that nobody waits for.
    fn unlock(&self, hash: UrlHash, lock: Arc<tokio::sync::Mutex<()>>) {
        let mut fetching = self.fetching.lock();
        drop(lock);
        if fetching
            .get(&hash)
            .is_some_and(|lock| Arc::strong_count(lock) == 1)
        {
            fetching.remove(&hash);
        }
    }

    async fn fetch_and_keep(&self, hash: UrlHash, url: Url) -> Result<Vec<u8>, PreviewError> {
        let time = Duration::from_secs(self.options.timeout.max(1)) * WHOLE;
        let place = timeout(time, self.places.acquire()).await;
        let Ok(Ok(_place)) = place else {
            // Nothing is known of the page.
            return Err(PreviewError::Failed);
        };
        let facts = match timeout(time, self.fetch(&url)).await {
            Ok(Ok(facts)) => Some(facts),
            Ok(Err(PreviewError::Failed)) | Err(_) => None,
            Ok(Err(error)) => return Err(error),
        };
        let known = self.keep(hash, facts.as_ref().map(json)).await?;
        told(known)
    }
}

/// Nobody: whoever has the copies of pictures.
pub(crate) const NOBODY: UserSerial = media::NOBODY;

fn told(known: PreviewRecord) -> Result<Vec<u8>, PreviewError> {
    known.answer.ok_or(PreviewError::Failed)
}

fn json(facts: &Map<String, Value>) -> Vec<u8> {
    Value::Object(facts.clone()).to_string().into_bytes()
}

/// The page's address as it is asked for: without what stands behind `#`.
fn page_url(text: &str) -> Result<Url, PreviewError> {
    if text.len() > MAX_URL_BYTES {
        return Err(PreviewError::Url);
    }
    let mut url = Url::parse(text).map_err(|_| PreviewError::Url)?;
    let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
    let has_password = !url.username().is_empty() || url.password().is_some();
    if !is_web || has_password {
        return Err(PreviewError::Url);
    }
    url.set_fragment(None);
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_are_asked_for() {
        for (text, expected) in [
            ("https://a.example/b?c=d#e", Some("https://a.example/b?c=d")),
            ("http://a.example", Some("http://a.example/")),
            ("HTTPS://A.example/", Some("https://a.example/")),
            ("a.example", None),
            ("file:///etc/passwd", None),
            ("ftp://a.example/", None),
            ("https://", None),
            ("https://user:secret@a.example/", None),
            ("https://user@a.example/", None),
            ("javascript:alert(1)", None),
            ("", None),
        ] {
            let url = page_url(text).ok();
            assert_eq!(url.as_ref().map(Url::as_str), expected, "{text}");
        }
        assert!(page_url(&format!("https://a.example/{}", "x".repeat(3_000))).is_err());
    }
}
