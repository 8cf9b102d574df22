//! RocksDB's list of the database's files, looked through before RocksDB reads it.
//!
//! RocksDB passes over some kinds of damage to its list without a word, and never comes to the
//! end of others ([`crate::frames::USED_AGAIN`]). A list that is passed over in part is another
//! database. So each record's sum is compared first. A record that breaks off at the end of the
//! file is what a power cut leaves, of a change that was not made.

use std::{
    fs, io,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use crate::{
    OpenError,
    frames::{self, Form},
};

/// Refuses the database in the folder `database` if its list of files is damaged. What is not
/// there, or cannot be read at all, RocksDB says.
///
/// # Errors
/// [`OpenError::ListDamaged`], which names the file.
pub(crate) fn must_be_sound(database: &Path) -> Result<(), OpenError> {
    let Some(list) = in_use(database) else {
        return Ok(());
    };
    match damage(&list) {
        Ok(Some(at)) => Err(OpenError::ListDamaged { list, at }),
        Ok(None) | Err(_) => Ok(()),
    }
}

/// The list that the database uses.
fn in_use(database: &Path) -> Option<PathBuf> {
    let current = fs::read_to_string(database.join("CURRENT")).ok()?;
    let name = current.strip_suffix('\n')?;
    (name.starts_with("MANIFEST-") && !name.contains('/')).then(|| database.join(name))
}

/// Where the first damage stands.
fn damage(list: &Path) -> io::Result<Option<u64>> {
    // Zeros are the end, unless something stands behind them.
    let mut ends = None;
    frames::walk(list, |frame| {
        match frame.form() {
            Form::Sound if ends.is_none() => {}
            Form::Torn => {}
            Form::Empty => ends = ends.or(Some(frame.at)),
            Form::Sound | Form::Damaged => return ControlFlow::Break(ends.unwrap_or(frame.at)),
        }
        ControlFlow::Continue(())
    })
}
