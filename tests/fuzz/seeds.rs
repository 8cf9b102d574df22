//! The seeds of the fuzz targets, for the tests beside the code that each target calls.

use std::{fs, path::Path};

/// Calls `check` with each seed of a target. The name of the one that fails is printed.
pub(crate) fn each(target: &str, check: impl Fn(&[u8])) {
    let seeds =
        Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../../tests/fuzz/seeds");
    let mut count = 0;
    for entry in fs::read_dir(seeds.join(target)).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        check(&fs::read(&path).unwrap());
        count += 1;
    }
    assert!(count > 0, "{target} has no seeds");
}
