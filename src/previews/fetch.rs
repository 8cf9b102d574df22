//! Fetching a page and its picture.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, header};
use media::{FileDescription, ImageSize, Uploader, image_size};
use outgoing::{AnswerBody, Begun, OutgoingError, Request};
use serde_json::{Map, Value};
use url::Url;

use crate::{
    Inner, NOBODY, PreviewError, charset, oembed,
    page::{self, Facts},
};

/// The longest answer of oEmbed, in bytes.
const MAX_OEMBED_BYTES: usize = 256 * 1_024;
/// The longest content type that is looked at, in bytes.
const MAX_CONTENT_TYPE: usize = 255;

/// What came of asking for a page.
struct Fetched {
    content_type: String,
    bytes: Bytes,
    /// Where it came from, after all redirects.
    url: Url,
}

impl Inner {
    /// What a page says of itself.
    ///
    /// # Errors
    /// [`PreviewError::Failed`] if it is not there.
    pub(crate) async fn fetch(&self, url: &Url) -> Result<Map<String, Value>, PreviewError> {
        let begun = self.ask(url, "text/html, image/*;q=0.9, */*;q=0.1").await?;
        let content_type = content_type(&begun.headers);
        if content_type.starts_with("image/") {
            let mut told = Map::new();
            let picture = whole(begun, self.image_bytes()).await?;
            self.add_image(&mut told, picture).await?;
            return Ok(told);
        }
        if !is_html(&content_type) {
            return Ok(Map::new());
        }
        let fetched = Fetched {
            content_type,
            url: begun.url.clone(),
            bytes: beginning(begun.body, self.page_bytes()).await?,
        };
        let base = fetched.url.clone();
        let mut facts = self.look_through(fetched).await?;
        if facts.image.is_none() || facts.text("og:title").is_none() {
            self.ask_site(&base, &mut facts).await;
        }
        let mut told: Map<String, Value> = facts
            .texts()
            .map(|(property, text)| (property.to_owned(), text.into()))
            .collect();
        if let Some(image) = facts
            .image
            .as_deref()
            .and_then(|image| resolve(&base, image))
        {
            self.add_image_at(&mut told, &image).await?;
        }
        Ok(told)
    }

    fn page_bytes(&self) -> usize {
        usize::try_from(self.options.max_page_bytes).unwrap_or(usize::MAX)
    }

    fn image_bytes(&self) -> usize {
        usize::try_from(self.options.max_image_bytes).unwrap_or(usize::MAX)
    }

    /// Asks for something; what comes is not encoded in any way, and was found.
    async fn ask(&self, url: &Url, accept: &'static str) -> Result<Begun, PreviewError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        headers.insert(
            header::ACCEPT_ENCODING,
            HeaderValue::from_static("identity"),
        );
        if let Ok(languages) = HeaderValue::try_from(self.options.languages.join(", ")) {
            headers.insert(header::ACCEPT_LANGUAGE, languages);
        }
        let request = Request {
            purpose: "preview",
            method: Method::GET,
            url: url.clone(),
            route: None,
            headers,
            body: Bytes::new(),
            plain_http: true,
            redirects: self.options.max_redirects,
            timeout: Duration::from_secs(self.options.timeout.max(1)),
            // Whoever takes it stops before that.
            answer_limit: usize::MAX,
        };
        let begun = self.outgoing.begin_page(request).await.map_err(failed)?;
        let encoding = begun.headers.get(header::CONTENT_ENCODING);
        let is_plain = encoding.is_none_or(|encoding| encoding == "identity");
        if !begun.status.is_success() || !is_plain {
            log::debug!("a page was not fetched: {}", begun.status);
            return Err(PreviewError::Failed);
        }
        Ok(begun)
    }

    /// Reads a page on a thread of its own: it may be long.
    async fn look_through(&self, fetched: Fetched) -> Result<Facts, PreviewError> {
        let look = move || page::read(&charset::decode(&fetched.bytes, &fetched.content_type));
        Ok(self.lane.run(look).await?)
    }

    /// Adds what the page's site says of it. If it says nothing, nothing is missing.
    async fn ask_site(&self, base: &Url, facts: &mut Facts) {
        let place = facts
            .oembed
            .as_deref()
            .and_then(|place| resolve(base, place));
        let Some(place) = place else {
            return;
        };
        let Ok(begun) = self.ask(&place, "application/json").await else {
            return;
        };
        if content_type(&begun.headers).contains("json")
            && let Ok(Fetched { bytes, .. }) = whole(begun, MAX_OEMBED_BYTES).await
        {
            oembed::add(facts, &bytes);
        }
    }

    /// Copies the picture at an address; without one there is still the rest.
    async fn add_image_at(
        &self,
        told: &mut Map<String, Value>,
        url: &Url,
    ) -> Result<(), PreviewError> {
        let fetched = match self.ask(url, "image/*").await {
            Ok(begun) => whole(begun, self.image_bytes()).await,
            Err(error) => Err(error),
        };
        match fetched {
            Ok(picture) => self.add_image(told, picture).await,
            Err(PreviewError::Failed) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Keeps a picture and tells where. What is none, whatever it is called, is left out.
    async fn add_image(
        &self,
        told: &mut Map<String, Value>,
        picture: Fetched,
    ) -> Result<(), PreviewError> {
        let Some(size) = image_size(&picture.bytes) else {
            return Ok(());
        };
        let ImageSize {
            content_type,
            width,
            height,
        } = size;
        let length = picture.bytes.len() as u64;
        let uploader = Uploader {
            user: NOBODY,
            device_id: String::new(),
        };
        let description = FileDescription {
            content_type: Some(content_type.to_owned()),
            filename: None,
            room_id: None,
        };
        let begun = self.media.upload(uploader, description, Some(length)).await;
        let Ok(mut upload) = begun else {
            return Ok(());
        };
        let kept = match upload.write(picture.bytes).await {
            Ok(()) => upload.finish().await,
            Err(error) => Err(error),
        };
        match kept {
            Ok(media_id) => {
                told.insert("og:image".to_owned(), self.media.uri(&media_id).into());
                told.insert("og:image:type".to_owned(), content_type.into());
                told.insert("og:image:width".to_owned(), width.into());
                told.insert("og:image:height".to_owned(), height.into());
                told.insert("matrix:image:size".to_owned(), length.into());
            }
            // The page can be told without it.
            Err(error) => log::warn!("the picture of a page was not kept: {error}"),
        }
        Ok(())
    }
}

fn failed(error: OutgoingError) -> PreviewError {
    log::debug!("a page was not fetched: {error}");
    PreviewError::Failed
}

fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE);
    let value = value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let value = value.get(..MAX_CONTENT_TYPE).unwrap_or(value);
    value.trim().to_ascii_lowercase()
}

fn is_html(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    matches!(essence, "text/html" | "application/xhtml+xml")
}

/// An address that stands on a page.
fn resolve(base: &Url, place: &str) -> Option<Url> {
    let url = base.join(place).ok()?;
    let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
    let has_password = !url.username().is_empty() || url.password().is_some();
    (is_web && !has_password).then_some(url)
}

/// The first bytes of a page, where it says what it is; the rest does not matter.
async fn beginning(mut body: AnswerBody, most: usize) -> Result<Bytes, PreviewError> {
    let mut bytes = BytesMut::new();
    while bytes.len() < most
        && let Some(piece) = body.next().await.map_err(failed)?
    {
        bytes.extend_from_slice(&piece);
    }
    bytes.truncate(most);
    Ok(bytes.freeze())
}

/// All bytes, if they are not too many.
async fn whole(begun: Begun, most: usize) -> Result<Fetched, PreviewError> {
    let (content_type, url) = (content_type(&begun.headers), begun.url);
    let mut body = begun.body;
    let mut bytes = BytesMut::new();
    while let Some(piece) = body.next().await.map_err(failed)? {
        if bytes.len() + piece.len() > most {
            log::debug!("what belongs to a page was not fetched: it is too long");
            return Err(PreviewError::Failed);
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(Fetched {
        content_type,
        bytes: bytes.freeze(),
        url,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_on_a_page_are_relative_to_it() {
        let base = Url::parse("https://a.example/b/c?d").unwrap();
        for (place, expected) in [
            ("/e.png", Some("https://a.example/e.png")),
            ("e.png", Some("https://a.example/b/e.png")),
            ("//f.example/e.png", Some("https://f.example/e.png")),
            ("http://f.example/", Some("http://f.example/")),
            ("data:image/png;base64,AA", None),
            ("file:///etc/passwd", None),
            ("https://u:p@f.example/", None),
            ("http://[", None),
        ] {
            let url = resolve(&base, place);
            assert_eq!(url.as_ref().map(Url::as_str), expected, "{place}");
        }
    }

    #[test]
    fn only_pages_are_looked_through() {
        for (kind, expected) in [
            ("text/html", true),
            ("text/html; charset=utf-8", true),
            ("application/xhtml+xml", true),
            ("text/plain", false),
            ("application/pdf", false),
            ("", false),
        ] {
            assert_eq!(is_html(kind), expected, "{kind}");
        }
    }
}
