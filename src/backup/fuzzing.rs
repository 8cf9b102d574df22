//! What the fuzz targets of `../../tests/fuzz` call: what is made of bytes from outside, and
//! what must hold of it. There in tests and in fuzzing only.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use sha2::{Digest as _, Sha256};

use crate::{
    Layout, Manifest, NoProgress, Unpacked,
    manifest::{hexadecimal, is_safe},
    unpack_stream,
};

/// The list of a backup, to which the hash at its end is added.
pub fn backup_manifest(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    let _ = Manifest::parse(text);
    let text = format!("{}\n", text.trim_end_matches('\n'));
    let end = hexadecimal(&Sha256::digest(text.as_bytes()).into());
    let Ok(manifest) = Manifest::parse(&format!("{text}end {end}\n")) else {
        return;
    };
    let _ = manifest.bytes();
    for name in manifest.files.keys() {
        assert!(is_safe(name) && stays_below(name), "{name:?}");
    }
    assert_eq!(Manifest::parse(&manifest.to_text()).ok(), Some(manifest));
}

/// Whether a name leads nowhere but down.
fn stays_below(name: &str) -> bool {
    !name.starts_with('/') && name.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// A backup as an archive, with a list that has the right hash at its end where one is meant.
pub fn backup_stream(bytes: &[u8]) {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let folder = format!("cairn-fuzz-{}-{number}", std::process::id());
    let above = std::env::temp_dir().join(folder);
    let layout = Layout {
        into: above.join("data"),
        with_media: bytes.len().is_multiple_of(2),
        may_link: false,
    };
    if let Ok(Unpacked { manifest, .. }) = unpack_stream(bytes, &layout, &mut NoProgress) {
        assert!(manifest.files.keys().all(|name| stays_below(name)));
    }
    // Nothing lies beside the folder.
    let beside = fs::read_dir(&above).into_iter().flatten().flatten();
    let beside: Vec<PathBuf> = beside.map(|entry| entry.path()).collect();
    assert!(beside.iter().all(|path| *path == layout.into), "{beside:?}");
    assert!(Path::new(&layout.into).is_symlink() || !has_links(&layout.into));
    let _ = fs::remove_dir_all(&above);
}

fn has_links(folder: &Path) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .any(|path| path.is_symlink() || (path.is_dir() && has_links(&path)))
}

#[cfg(test)]
mod tests {
    use crate::seeds::each;

    #[test]
    fn seeds() {
        each("backup_manifest", super::backup_manifest);
        each("backup_stream", super::backup_stream);
    }
}
