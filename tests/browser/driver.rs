//! A browser, driven over WebDriver (W3C) by chromedriver.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The key under which WebDriver names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// The longest the driver may take for an answer.
const LONGEST_ANSWER: Duration = Duration::from_secs(30);
/// How long a tap may take to lead to another page.
const LONGEST_WAY: Duration = Duration::from_secs(5);
/// WebDriver's code of the Tab key.
pub(crate) const TAB: &str = "\u{E004}";
/// WebDriver's code of the Enter key.
pub(crate) const ENTER: &str = "\u{E007}";

/// A running browser with a new profile; it ends when dropped.
pub(crate) struct Browser {
    client: Client,
    session: String,
    /// The browser's own process, which does not end with its driver.
    process: String,
    driver: Child,
    _profile: TempDir,
}

/// Something on the page.
pub(crate) struct Found<'a> {
    browser: &'a Browser,
    id: String,
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = Command::new("sh")
            .args(["-c", &format!("kill -KILL {}", self.process)])
            .stderr(Stdio::null())
            .status();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

impl Browser {
    /// A browser with the screen of a phone (390 by 844), in light colours, which
    /// reaches this machine only.
    pub(crate) async fn phone() -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver: `.ci/install-dependencies test` installs it");
        let output = driver.stdout.take().expect("the driver's output");
        let port = BufReader::new(output)
            .lines()
            .map_while(Result::ok)
            .find_map(|line| {
                let (_, port) = line.split_once("successfully on port ")?;
                Some(port.trim_end_matches('.').to_owned())
            })
            .expect("the driver's port");
        let profile = tempfile::tempdir().expect("a folder for the profile");
        let client = Client::builder()
            .timeout(LONGEST_ANSWER)
            .build()
            .expect("a client");
        let driver_url = format!("http://127.0.0.1:{port}");
        let answer = client
            .post(format!("{driver_url}/session"))
            .json(&capabilities(profile.path()))
            .send()
            .await
            .expect("the driver's answer");
        let answer: Value = answer.json().await.expect("JSON");
        let id = answer["value"]["sessionId"]
            .as_str()
            .unwrap_or_else(|| panic!("no browser: {answer}"));
        let process = &answer["value"]["capabilities"]["goog:processID"];
        let browser = Self {
            client,
            session: format!("{driver_url}/session/{id}"),
            process: process.to_string(),
            driver,
            _profile: profile,
        };
        browser.colours("light").await;
        browser
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let request = self.client.post(format!("{}/{path}", self.session));
        self.ask(request.json(&body)).await
    }

    async fn get(&self, path: &str) -> Value {
        self.ask(self.client.get(format!("{}/{path}", self.session)))
            .await
    }

    async fn ask(&self, request: reqwest::RequestBuilder) -> Value {
        let answer = request.send().await.expect("the driver's answer");
        let status = answer.status();
        let mut answer: Value = answer.json().await.expect("JSON");
        assert!(status.is_success(), "the browser refused: {answer}");
        answer["value"].take()
    }

    async fn tell_engine(&self, command: &str, parameters: Value) {
        let body = json!({ "cmd": command, "params": parameters });
        self.post("goog/cdp/execute", body).await;
    }

    /// Prefers light or dark colours from here on.
    pub(crate) async fn colours(&self, scheme: &str) {
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.tell_engine(
            "Emulation.setEmulatedMedia",
            json!({ "features": [feature] }),
        )
        .await;
    }

    /// Has the screen of a desk from here on.
    pub(crate) async fn at_desk(&self) {
        self.screen(1280, 900, false).await;
    }

    /// Has a phone's screen from here on.
    pub(crate) async fn on_phone(&self) {
        self.screen(390, 844, true).await;
    }

    async fn screen(&self, width: u32, height: u32, is_mobile: bool) {
        let screen = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": is_mobile,
        });
        self.tell_engine("Emulation.setDeviceMetricsOverride", screen)
            .await;
    }

    /// Has a device that makes passkeys, whose person is there and is made sure of.
    pub(crate) async fn with_authenticator(&self) {
        let authenticator = json!({
            "protocol": "ctap2",
            "transport": "internal",
            "hasResidentKey": true,
            "hasUserVerification": true,
            "isUserVerified": true,
        });
        self.post("webauthn/authenticator", authenticator).await;
    }

    /// Opens an address.
    pub(crate) async fn open(&self, url: &str) {
        self.post("url", json!({ "url": url })).await;
    }

    /// Loads the page again.
    pub(crate) async fn reload(&self) {
        self.post("refresh", json!({})).await;
    }

    /// The address of the page.
    pub(crate) async fn url(&self) -> String {
        let url = self.get("url").await;
        url.as_str().expect("an address").to_owned()
    }

    /// The page's title.
    pub(crate) async fn title(&self) -> String {
        let title = self.get("title").await;
        title.as_str().expect("a title").to_owned()
    }

    /// The first element that a CSS selector finds.
    pub(crate) async fn find(&self, selector: &str) -> Found<'_> {
        let body = json!({ "using": "css selector", "value": selector });
        let found = self.post("element", body).await;
        Found::new(self, &found)
    }

    /// The element that has the keyboard's focus.
    pub(crate) async fn focused(&self) -> Found<'_> {
        let found = self.get("element/active").await;
        Found::new(self, &found)
    }

    /// Types into whatever has the focus.
    pub(crate) async fn press(&self, key: &str) {
        let press = |kind: &str| json!({ "type": kind, "value": key });
        let keys =
            json!({ "type": "key", "id": "keys", "actions": [press("keyDown"), press("keyUp")] });
        self.post("actions", json!({ "actions": [keys] })).await;
    }

    /// Whether a CSS selector finds anything.
    pub(crate) async fn has(&self, selector: &str) -> bool {
        let body = json!({ "using": "css selector", "value": selector });
        let found = self.post("elements", body).await;
        found.as_array().is_some_and(|found| !found.is_empty())
    }

    /// What a function of the driver's own finds out about the page.
    pub(crate) async fn examine(&self, script: &str) -> Value {
        self.post("execute/sync", json!({ "script": script, "args": [] }))
            .await
    }

    /// When the page began, and how far it is; nothing while one takes another's place.
    async fn page(&self) -> Value {
        let script = "return [performance.timeOrigin, document.readyState]";
        let body = json!({ "script": script, "args": [] });
        let request = self.client.post(format!("{}/execute/sync", self.session));
        let answer = request
            .json(&body)
            .send()
            .await
            .expect("the driver's answer");
        let mut answer: Value = answer.json().await.expect("JSON");
        answer["value"].take()
    }

    /// What the browser complained about since it was last asked, besides the status
    /// of the page itself.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let log = self.post("se/log", json!({ "type": "browser" })).await;
        let entries = log.as_array().expect("a log");
        let of_page = |entry: &&Value| entry["source"] != "network";
        let complaints = entries.iter().filter(of_page);
        complaints.map(ToString::to_string).collect()
    }

    /// Writes a picture of the whole page, however long.
    pub(crate) async fn picture(&self, file: &Path) {
        let body = json!({
            "cmd": "Page.captureScreenshot",
            "params": { "captureBeyondViewport": true },
        });
        let picture = self.post("goog/cdp/execute", body).await;
        let picture = picture["data"].as_str().expect("a picture");
        let bytes = STANDARD.decode(picture).expect("base64");
        std::fs::write(file, bytes).expect("the picture's file");
    }

    /// Prints the page on A4, as a PDF.
    pub(crate) async fn print(&self) -> Vec<u8> {
        // Centimetres.
        let page = json!({ "width": 21.0, "height": 29.7 });
        let printed = self.post("print", json!({ "page": page })).await;
        let printed = printed.as_str().expect("a document");
        STANDARD.decode(printed).expect("base64")
    }
}

impl<'a> Found<'a> {
    fn new(browser: &'a Browser, found: &Value) -> Self {
        let id = found[ELEMENT].as_str().expect("an element").to_owned();
        Self { browser, id }
    }

    async fn text_at(&self, what: &str) -> String {
        let path = format!("element/{}/{what}", self.id);
        let text = self.browser.get(&path).await;
        text.as_str().unwrap_or("").to_owned()
    }

    /// What is written there.
    pub(crate) async fn text(&self) -> String {
        self.text_at("text").await
    }

    /// What a screen reader calls it.
    pub(crate) async fn label(&self) -> String {
        self.text_at("computedlabel").await
    }

    /// What a screen reader says it is.
    pub(crate) async fn role(&self) -> String {
        self.text_at("computedrole").await
    }

    /// A property, `value` or `id` for instance.
    pub(crate) async fn property(&self, name: &str) -> String {
        self.text_at(&format!("property/{name}")).await
    }

    /// Types a text.
    pub(crate) async fn write(&self, text: &str) {
        let path = format!("element/{}/value", self.id);
        self.browser.post(&path, json!({ "text": text })).await;
    }

    /// Empties an input.
    pub(crate) async fn empty(&self) {
        let path = format!("element/{}/clear", self.id);
        self.browser.post(&path, json!({})).await;
    }

    /// Taps it, and waits for the page that it leads to. The driver's own answer can come
    /// before that page has begun to load.
    pub(crate) async fn tap(&self) {
        let before = self.browser.page().await;
        let path = format!("element/{}/click", self.id);
        self.browser.post(&path, json!({})).await;
        let tapped = Instant::now();
        while tapped.elapsed() < LONGEST_WAY {
            let page = self.browser.page().await;
            if page[0] != before[0] && page[1] == "complete" {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn capabilities(profile: &Path) -> Value {
    let arguments = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        // No name is looked up.
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
        &format!("--user-data-dir={}", profile.display()),
    ];
    let screen = json!({
        "width": 390, "height": 844, "pixelRatio": 2.0, "touch": true, "mobile": true,
    });
    json!({ "capabilities": { "alwaysMatch": {
        "browserName": "chrome",
        "goog:loggingPrefs": { "browser": "ALL" },
        "goog:chromeOptions": {
            "binary": "/usr/bin/chromium",
            "args": arguments,
            "mobileEmulation": { "deviceMetrics": screen },
        },
    } } })
}
