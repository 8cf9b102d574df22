//! Reading QR codes as a camera does: whatever was drawn becomes an image first.

/// Pixels to a module, in both directions.
const SCALE: usize = 4;

/// The texts of all codes in the drawings (SVG) of a page.
pub fn in_page(html: &str) -> Vec<String> {
    html.split("<svg")
        .skip(1)
        .map(|drawing| read(&modules_of_drawing(drawing)))
        .collect()
}

/// The text of the code that a command printed in half blocks.
pub fn in_blocks(printed: &str) -> String {
    let is_block = |line: &&str| line.contains(['█', '▀', '▄']);
    let mut rows = Vec::new();
    for line in printed.lines().filter(is_block) {
        let half = |dark: [char; 2]| line.chars().map(|block| dark.contains(&block)).collect();
        rows.push(half(['█', '▀']));
        rows.push(half(['█', '▄']));
    }
    read(&rows)
}

/// The texts of all codes in an image of grey values, a byte for each pixel.
pub fn in_image(width: usize, height: usize, grey: &[u8]) -> Vec<String> {
    let at = |x: usize, y: usize| grey[y * width + x];
    let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, height, at);
    let found = image.detect_grids();
    let text = |grid: &rqrr::Grid<_>| grid.decode().expect("a readable code").1;
    found.iter().map(text).collect()
}

/// The dark modules of a path of rectangles: `M4 4h7v1h-7z…`.
fn modules_of_drawing(drawing: &str) -> Vec<Vec<bool>> {
    let attribute = |name: &str| {
        let (_, rest) = drawing.split_once(&format!(" {name}=\"")).expect(name);
        rest.split('"').next().expect("a value").to_owned()
    };
    let view = attribute("viewBox");
    let width: usize = view
        .split(' ')
        .next_back()
        .expect("a width")
        .parse()
        .expect("a number");
    let mut modules = vec![vec![false; width]; width];
    for run in attribute("d").split('z').filter(|run| !run.is_empty()) {
        let numbers: Vec<usize> = run
            .split(|letter: char| !letter.is_ascii_digit())
            .filter_map(|number| number.parse().ok())
            .collect();
        modules[numbers[1]][numbers[0]..numbers[0] + numbers[2]].fill(true);
    }
    modules
}

/// The text of the one code in an image of these modules, with light all around.
fn read(modules: &[Vec<bool>]) -> String {
    let width = modules.iter().map(Vec::len).max().unwrap_or(0);
    // As wide as high, and with the margin that lines of text do not have.
    let side = (width.max(modules.len()) + 8) * SCALE;
    let light = |x: usize, y: usize| {
        let (Some(row), Some(column)) = ((y / SCALE).checked_sub(4), (x / SCALE).checked_sub(4))
        else {
            return 255;
        };
        let is_dark = modules.get(row).and_then(|row| row.get(column));
        if is_dark == Some(&true) { 0 } else { 255 }
    };
    let mut image = rqrr::PreparedImage::prepare_from_greyscale(side, side, light);
    let found = image.detect_grids();
    assert_eq!(found.len(), 1, "not one code in the image");
    let (_, text) = found[0].decode().expect("a readable code");
    text
}
