//! QR codes, as drawings for pages and for terminals.

use qrcode::{Color, EcLevel};

use crate::html::{Element, element};

/// The light margin that readers need, in modules.
const MARGIN: usize = 4;

/// A QR code: a square of dark and light modules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QrCode {
    width: usize,
    /// Row by row; true is dark.
    modules: Vec<bool>,
}

impl QrCode {
    /// The code of a text; none if the text is longer than a code can hold (2,331
    /// bytes). An eighth of it may be dirty or torn: level M.
    pub fn of(text: &str) -> Option<Self> {
        let code = qrcode::QrCode::with_error_correction_level(text, EcLevel::M).ok()?;
        let width = code.width();
        let modules = code.into_colors().iter().map(is_dark).collect();
        Some(Self { width, modules })
    }

    /// Whether a module is dark, counted from the corner of the margin around it.
    fn is_dark(&self, row: usize, column: usize) -> bool {
        let (Some(row), Some(column)) = (row.checked_sub(MARGIN), column.checked_sub(MARGIN))
        else {
            return false;
        };
        column < self.width && row < self.width && self.modules[row * self.width + column]
    }

    /// The width with the margin on both sides, in modules.
    fn outer_width(&self) -> usize {
        self.width + 2 * MARGIN
    }

    /// The code as a drawing within a page: black on white, whatever the page's
    /// colours. `label` is what screen readers say.
    pub(crate) fn svg(&self, label: &str) -> Element {
        let width = self.outer_width().to_string();
        let background = element("rect")
            .with("width", width.as_str())
            .with("height", width.as_str())
            .with("fill", "#fff");
        element("svg")
            .with("class", "code")
            .with("viewBox", format!("0 0 {width} {width}"))
            .with("shape-rendering", "crispEdges")
            .with("role", "img")
            .with("aria-label", label)
            .has(background)
            .has(element("path").with("d", self.path()).with("fill", "#000"))
    }

    /// Each run of dark modules in a row as a rectangle.
    fn path(&self) -> String {
        let width = self.outer_width();
        let mut path = String::new();
        for row in 0..width {
            let mut column = 0;
            while column < width {
                let start = column;
                while column < width && self.is_dark(row, column) {
                    column += 1;
                }
                let run = column - start;
                if run > 0 {
                    path.push_str(&format!("M{start} {row}h{run}v1h-{run}z"));
                }
                column += 1;
            }
        }
        path
    }

    /// The code in half blocks, two rows of modules to a line. On a terminal the
    /// colours are set, as nobody knows its own; anywhere else the blocks are dark,
    /// as on paper.
    pub fn blocks(&self, is_terminal: bool) -> String {
        // Black on white, in the way that every terminal knows.
        let (begin, end) = if is_terminal {
            ("\x1b[30;47m", "\x1b[0m")
        } else {
            ("", "")
        };
        let width = self.outer_width();
        let mut text = String::new();
        for row in (0..width).step_by(2) {
            text.push_str(begin);
            for column in 0..width {
                let block = match (self.is_dark(row, column), self.is_dark(row + 1, column)) {
                    (true, true) => '█',
                    (true, false) => '▀',
                    (false, true) => '▄',
                    (false, false) => ' ',
                };
                text.push(block);
            }
            text.push_str(end);
            text.push('\n');
        }
        text
    }
}

fn is_dark(colour: &Color) -> bool {
    *colour == Color::Dark
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The three corners by which readers find a code, row by row.
    const FINDER: [&str; 7] = [
        "#######", "#     #", "# ### #", "# ### #", "# ### #", "#     #", "#######",
    ];

    fn assert_finder(code: &QrCode, top: usize, left: usize) {
        for (row, line) in FINDER.iter().enumerate() {
            for (column, mark) in line.chars().enumerate() {
                let is_dark = code.is_dark(MARGIN + top + row, MARGIN + left + column);
                assert_eq!(is_dark, mark == '#', "{top} {left}: {row} {column}");
            }
        }
    }

    #[test]
    fn a_code_has_its_three_corners_and_its_margin() {
        let code = QrCode::of("https://chat.council.example/join/token").unwrap();
        let far = code.width - 7;
        for (top, left) in [(0, 0), (0, far), (far, 0)] {
            assert_finder(&code, top, left);
        }
        for place in 0..code.outer_width() {
            for edge in (0..MARGIN).chain(code.outer_width() - MARGIN..code.outer_width()) {
                assert!(!code.is_dark(edge, place) && !code.is_dark(place, edge));
            }
        }
    }

    #[test]
    fn what_is_too_long_has_no_code() {
        assert!(QrCode::of(&"a".repeat(2_331)).is_some());
        assert_eq!(QrCode::of(&"a".repeat(2_332)), None);
    }

    #[test]
    fn the_drawing_has_every_dark_module_and_no_other() {
        let code = QrCode::of("https://chat.council.example").unwrap();
        let mut drawn = vec![false; code.outer_width() * code.outer_width()];
        for run in code.path().split('z').filter(|run| !run.is_empty()) {
            let numbers: Vec<usize> = run
                .split(|letter: char| !letter.is_ascii_digit())
                .filter_map(|number| number.parse().ok())
                .collect();
            // M column row h run v 1 h -run
            for column in numbers[0]..numbers[0] + numbers[2] {
                drawn[numbers[1] * code.outer_width() + column] = true;
            }
        }
        for row in 0..code.outer_width() {
            for column in 0..code.outer_width() {
                assert_eq!(
                    drawn[row * code.outer_width() + column],
                    code.is_dark(row, column),
                    "{row} {column}"
                );
            }
        }
        let drawing = code.svg("a <code>").render();
        assert!(drawing.contains("aria-label=\"a &lt;code&gt;\""));
    }

    #[test]
    fn blocks_are_two_rows_to_a_line() {
        let code = QrCode::of("anna").unwrap();
        let blocks = code.blocks(false);
        assert_eq!(blocks.lines().count(), code.outer_width().div_ceil(2));
        for line in blocks.lines() {
            assert_eq!(line.chars().count(), code.outer_width());
        }
        // The upper edge of the corners begins below a margin of two lines.
        let line = blocks.lines().nth(2).unwrap();
        assert!(line.starts_with("    █▀▀▀▀▀█"), "{line}");
        for line in code.blocks(true).lines() {
            assert!(line.starts_with("\x1b[30;47m") && line.ends_with("\x1b[0m"));
        }
    }
}
