//! Somebody with a role at the desk of the console, as a browser without scripts is there.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, Mac as _};
use reqwest::{Method, RequestBuilder};
use sha1::Sha1;

use crate::{PASSWORD, Page, Visitor};

/// A browser with its cookies, and what makes its person's codes.
#[derive(Debug)]
pub struct Clerk {
    visitor: Visitor,
    /// Who it is.
    pub user: String,
    /// The cookies that the browser keeps.
    pub cookies: BTreeMap<String, String>,
    /// What ties forms to the session, as the last page had it.
    pub form: String,
    /// The secret of the one-time codes, once there is one.
    pub secret: String,
    /// The code that was used to set them up.
    pub used: String,
    /// The recovery codes, once there are some.
    pub recovery: Vec<String>,
}

impl Clerk {
    /// Somebody who has not signed in yet.
    pub fn new(visitor: Visitor, user: &str) -> Self {
        Self {
            visitor,
            user: user.to_owned(),
            cookies: BTreeMap::new(),
            form: String::new(),
            secret: String::new(),
            used: String::new(),
            recovery: Vec::new(),
        }
    }

    /// Somebody who has signed in and set codes up.
    pub async fn at_desk(visitor: Visitor, user: &str) -> Self {
        let mut clerk = Self::new(visitor, user);
        clerk.sign_in(PASSWORD).await;
        clerk.set_up().await;
        clerk
    }

    /// A request with the cookies.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.with_cookies(self.visitor.request(method, path))
    }

    fn with_cookies(&self, request: RequestBuilder) -> RequestBuilder {
        let cookies = self.cookies.iter();
        let cookies: Vec<String> = cookies
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        request.header("Cookie", cookies.join("; "))
    }

    /// Sends a request and keeps what a browser keeps of the answer.
    pub async fn send(&mut self, request: RequestBuilder) -> Page {
        let page = self.visitor.send(request).await;
        for line in page.headers.get_all("set-cookie") {
            let line = line.to_str().expect("a cookie");
            let (pair, about) = line.split_once(';').expect("a cookie");
            let (name, value) = pair.split_once('=').expect("a cookie");
            match about.contains("Max-Age=0") {
                true => self.cookies.remove(name),
                false => self.cookies.insert(name.to_owned(), value.to_owned()),
            };
        }
        if let Some(form) = between(&page.text, "name=\"form\" value=\"", "\"") {
            self.form = form.to_owned();
        }
        page
    }

    /// Opens a page.
    pub async fn open(&mut self, path: &str) -> Page {
        self.send(self.request(Method::GET, path)).await
    }

    /// Sends a form of the last page.
    pub async fn submit(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let form = self.form.clone();
        let mut fields = fields.to_vec();
        fields.push(("form", &form));
        let request = self.with_cookies(self.visitor.form(path, &fields));
        self.send(request).await
    }

    /// Sends a form of the last page with a file in its field `file`, as browsers do.
    pub async fn upload(&mut self, path: &str, file: &str) -> Page {
        const BOUNDARY: &str = "----WebKitFormBoundaryx7";
        let part = |about: &str, content: &str| {
            format!("--{BOUNDARY}\r\nContent-Disposition: form-data; {about}\r\n\r\n{content}\r\n")
        };
        let about = "name=\"file\"; filename=\"people.csv\"\r\nContent-Type: text/csv";
        let body = part("name=\"form\"", &self.form) + &part(about, file);
        let kind = format!("multipart/form-data; boundary={BOUNDARY}");
        let request = self
            .request(Method::POST, path)
            .header("Content-Type", kind)
            .body(format!("{body}--{BOUNDARY}--\r\n"));
        self.send(request).await
    }

    /// What stands behind the name of a hidden field of a page.
    pub fn hidden(page: &Page, name: &str) -> Option<String> {
        let before = format!("name=\"{name}\" value=\"");
        between(&page.text, &before, "\"").map(str::to_owned)
    }

    /// Gives the password.
    pub async fn sign_in(&mut self, password: &str) -> Page {
        self.open("/console/sign-in").await;
        let user = self.user.clone();
        let fields = [("user", user.as_str()), ("password", password)];
        self.submit("/console/sign-in", &fields).await
    }

    /// Sets codes up and keeps the recovery codes.
    pub async fn set_up(&mut self) {
        let page = self
            .open("/console/set-up")
            .await
            .shows(200, &["Codes from an app"]);
        let secret = between(&page.text, "<code id=\"secret\">", "<").expect("a secret");
        self.secret = secret.to_owned();
        self.used = one_time_code(secret);
        let code = self.used.clone();
        let fields = [("code", code.as_str()), ("password", PASSWORD)];
        let page = self.submit("/console/set-up/codes", &fields).await;
        let page = page.shows(200, &["Your recovery codes"]);
        let codes = page.text.split("<li><code>").skip(1);
        let codes = codes.filter_map(|rest| rest.split('<').next());
        self.recovery = codes.map(str::to_owned).collect();
    }

    /// Gives the second factor: a recovery code, for one-time codes count once in 30 seconds.
    pub async fn raise(&mut self) -> Page {
        self.open("/console/second-factor").await;
        let code = self.recovery.pop().expect("a recovery code");
        self.submit("/console/second-factor", &[("code", &code)])
            .await
    }
}

/// What stands between two parts of a text.
fn between<'a>(text: &'a str, before: &str, behind: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    Some(rest.split_once(behind)?.0)
}

/// The code that an app shows now for a secret.
pub fn one_time_code(secret: &str) -> String {
    const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let place = |letter| LETTERS.find(letter).expect("a letter of base32");
    let bits: String = secret
        .chars()
        .map(|letter| format!("{:05b}", place(letter)))
        .collect();
    let bytes: Vec<u8> = bits
        .as_bytes()
        .chunks_exact(8)
        .map(|bits| {
            let bits = std::str::from_utf8(bits).expect("digits");
            u8::from_str_radix(bits, 2).expect("a byte")
        })
        .collect();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a time");
    let mut hmac = Hmac::<Sha1>::new_from_slice(&bytes).expect("a key");
    hmac.update(&(now.as_secs() / 30).to_be_bytes());
    let hash = hmac.finalize().into_bytes();
    let offset = usize::from(hash[19] & 15);
    let four: [u8; 4] = hash[offset..offset + 4].try_into().expect("four bytes");
    format!(
        "{:06}",
        (u32::from_be_bytes(four) & 0x7fff_ffff) % 1_000_000
    )
}
