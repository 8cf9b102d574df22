//! What a page is once it is printed: read back from the PDF with poppler.

use std::path::Path;
use std::process::Command;

use harness::qr;

use crate::checks::folder;
use crate::driver::Browser;

/// Points to a millimetre of paper: what a plain office printer and a phone's camera
/// manage.
const DOTS_PER_INCH: usize = 150;

/// A side of paper.
pub(crate) struct Side {
    /// What is written there.
    pub(crate) text: String,
    /// What stands in the QR codes there.
    pub(crate) codes: Vec<String>,
    /// The shares of the paper's width and height that are left white at the edges:
    /// left, top, right, bottom.
    pub(crate) margins: [f64; 4],
}

/// Prints the page, leaves a picture of each side of paper beside those of the screen,
/// and reads them.
pub(crate) async fn print(browser: &Browser, name: &str) -> Vec<Side> {
    let file = folder().join(format!("{name}.pdf"));
    std::fs::write(&file, browser.print().await).expect("the document's file");
    let texts = run("pdftotext", &["-layout"], &file, &["-"]);
    let texts = String::from_utf8(texts).expect("a text");
    // Each side ends with a form feed.
    let texts = texts.strip_suffix('\u{c}').expect("a side").split('\u{c}');
    let resolution = DOTS_PER_INCH.to_string();
    let picture = folder().join(name);
    let picture = picture.to_str().expect("a name");
    run("pdftoppm", &["-png", "-r", &resolution], &file, &[picture]);
    let pictures = run("pdftoppm", &["-gray", "-r", &resolution], &file, &[]);
    let sides: Vec<Side> = texts
        .zip(greys(&pictures))
        .map(|(text, grey)| grey.side(text))
        .collect();
    assert_eq!(sides.len(), greys(&pictures).len(), "a text for each side");
    sides
}

fn run(program: &str, before: &[&str], file: &Path, behind: &[&str]) -> Vec<u8> {
    let output = Command::new(program)
        .args(before)
        .arg(file)
        .args(behind)
        .output()
        .expect("poppler: `.ci/install-dependencies test` installs it");
    assert!(output.status.success(), "{program}: {output:?}");
    output.stdout
}

/// A picture of grey values.
struct Grey<'a> {
    width: usize,
    height: usize,
    pixels: &'a [u8],
}

/// The pictures (PGM) that stand there one behind the other.
fn greys(mut bytes: &[u8]) -> Vec<Grey<'_>> {
    let mut greys = Vec::new();
    while !bytes.is_empty() {
        let mut word = || {
            let (word, rest) = bytes.split_at(bytes.iter().position(u8::is_ascii_whitespace)?);
            bytes = &rest[1..];
            std::str::from_utf8(word).ok()
        };
        assert_eq!(word(), Some("P5"), "the format");
        let mut number = || word()?.parse::<usize>().ok();
        let (width, height) = (number().expect("a width"), number().expect("a height"));
        assert_eq!(number(), Some(255), "the highest value");
        let (pixels, rest) = bytes.split_at(width * height);
        bytes = rest;
        greys.push(Grey {
            width,
            height,
            pixels,
        });
    }
    greys
}

impl Grey<'_> {
    fn side(&self, text: &str) -> Side {
        Side {
            text: text.to_owned(),
            codes: qr::in_image(self.width, self.height, self.pixels),
            margins: self.margins(),
        }
    }

    fn margins(&self) -> [f64; 4] {
        let (width, height) = (self.width, self.height);
        let inked = |x: usize, y: usize| self.pixels[y * width + x] < 128;
        let column = |x: &usize| (0..height).any(|y| inked(*x, y));
        let row = |y: &usize| (0..width).any(|x| inked(x, *y));
        let share = |at: Option<usize>, of: usize| at.expect("ink") as f64 / of as f64;
        let last = |at: Option<usize>, of: usize| at.map(|at| of - 1 - at);
        [
            share((0..width).find(column), width),
            share((0..height).find(row), height),
            share(last((0..width).rfind(column), width), width),
            share(last((0..height).rfind(row), height), height),
        ]
    }
}
