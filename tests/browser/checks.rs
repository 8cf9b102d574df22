//! What holds for every page: it fits a phone's screen, can be read in light and
//! dark, and is complete in itself.

use std::path::{Path, PathBuf};

use crate::driver::Browser;

/// Wider than the screen, and why.
const OVERFLOWING: &str = r#"
const wide = [...document.querySelectorAll("*")].filter(
    (element) => element.getBoundingClientRect().right > innerWidth + 0.5,
);
return [
    ...wide.map((element) => element.outerHTML.slice(0, 80)),
    ...(document.documentElement.scrollWidth > innerWidth ? ["the page"] : []),
];
"#;

/// Texts with less contrast than 4.5 to 1 (WCAG 2.2, AA), with their contrast.
const PALE: &str = r#"
const channels = (colour) => {
    const [red, green, blue, alpha = 1] = colour.match(/[\d.]+/g).map(Number);
    return { colour: [red, green, blue], alpha };
};
const luminance = (colour) => {
    const [red, green, blue] = colour.map((channel) => {
        const part = channel / 255;
        return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
};
const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
        const { colour, alpha } = channels(getComputedStyle(at).backgroundColor);
        if (alpha === 1) return colour;
    }
    return [255, 255, 255];
};
const pale = [];
let seen = 0;
const check = (element, text) => {
    seen += 1;
    const letters = luminance(channels(getComputedStyle(element).color).colour);
    const behind = luminance(ground(element));
    const contrast = (Math.max(letters, behind) + 0.05) / (Math.min(letters, behind) + 0.05);
    if (contrast < 4.5) pale.push(`${contrast.toFixed(2)}: ${text}`);
};
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (texts.nextNode()) {
    const text = texts.currentNode.data.trim();
    if (text) check(texts.currentNode.parentElement, text);
}
for (const input of document.querySelectorAll("input")) check(input, input.id);
return { pale, seen };
"#;

/// What can be tapped and is smaller than 44 pixels in height (a finger).
const SMALL: &str = r#"
return [...document.querySelectorAll("input, select, button, .act > summary, .menu > summary, a.button, .clients a, nav a")]
    .filter((element) => element.type !== "checkbox" && element.checkVisibility())
    .map((element) => [element.id || element.textContent, element.getBoundingClientRect().height])
    .filter(([, height]) => height < 44)
    .map(([name, height]) => `${name}: ${height}`);
"#;

/// Takes pictures of the page in light and dark, named `name`, and checks it in both.
pub(crate) async fn look(browser: &Browser, name: &str) {
    for scheme in ["light", "dark"] {
        browser.colours(scheme).await;
        let file = folder().join(format!("{name}-{scheme}.png"));
        browser.picture(&file).await;
        let found = browser.examine(PALE).await;
        assert!(found["seen"].as_u64() > Some(3), "{name}: {found}");
        assert_eq!(found["pale"], serde_json::json!([]), "{name}, {scheme}");
    }
    browser.colours("light").await;
    for script in [OVERFLOWING, SMALL] {
        let found = browser.examine(script).await;
        assert_eq!(found, serde_json::json!([]), "{name}");
    }
    assert_eq!(browser.complaints().await, [""; 0], "{name}");
}

/// Where the pictures are left.
pub(crate) fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pages");
    std::fs::create_dir_all(&folder).expect("the pictures' folder");
    folder
}
