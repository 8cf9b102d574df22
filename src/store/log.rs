//! The log: every commit's entries in the one order, for consumers that want
//! everything. Each consumer keeps its own cursor; what all have read and what is
//! older than an age is trimmed.

use crate::{
    Batch, DecodeError, Family, Latest, Position, Read, Scope, Snapshot, Store, StoreError, Table,
    Value, Watch,
    database::{META_BY_NAME, meta},
};

/// The scope of the log itself: every commit that appends to it wakes it.
pub(crate) const LOG: Scope = Scope { kind: 0, serial: 0 };

/// The entries of one commit, as [`encode`] writes them.
pub(crate) const LOG_BY_POSITION: Table<Position, Vec<u8>> =
    Table::new(1, Family::Changes, "LOG_BY_POSITION");
/// How far each consumer of the log has read.
pub(crate) const CURSOR_BY_CONSUMER: Table<String, Position> =
    Table::new(2, Family::Index, "CURSOR_BY_CONSUMER");

/// One commit as a consumer sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// The commit's position.
    pub position: Position,
    /// When it was written, in milliseconds since the Unix epoch.
    pub written_at: u64,
    /// What the commit said, in its own order.
    pub entries: Vec<Vec<u8>>,
}

/// Version, time, then each entry behind its length.
pub(crate) fn encode(written_at: u64, entries: &[Vec<u8>]) -> Vec<u8> {
    let mut out = vec![1];
    out.extend_from_slice(&written_at.to_be_bytes());
    for entry in entries {
        let length = u32::try_from(entry.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(entry);
    }
    out
}

fn decode(position: Position, bytes: &[u8]) -> Result<LogRecord, DecodeError> {
    use crate::Key;
    let mut rest = bytes;
    if <u8 as Key>::decode(&mut rest)? != 1 {
        return Err(DecodeError("an unknown version"));
    }
    let written_at = <u64 as Key>::decode(&mut rest)?;
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let length = <u32 as Key>::decode(&mut rest)? as usize;
        let (entry, tail) = rest
            .split_at_checked(length)
            .ok_or(DecodeError("an entry ends early"))?;
        entries.push(entry.to_vec());
        rest = tail;
    }
    Ok(LogRecord {
        position,
        written_at,
        entries,
    })
}

/// A reader of the log with a stored cursor. It sees each record at least once,
/// in order, and goes on after a restart where it last advanced.
pub struct Consumer {
    store: Store,
    name: String,
    cursor: Position,
    watch: Watch,
}

impl Consumer {
    /// The consumer of that name; a new one begins after the last published commit.
    ///
    /// # Errors
    /// [`StoreError::Trimmed`] if the log was trimmed past its cursor: it must
    /// rebuild from the tables, then [`Consumer::restart`].
    pub async fn open(store: &Store, name: &str) -> Result<Self, StoreError> {
        // Subscribe first, read second.
        let watch = store.watch(&[LOG]);
        let snapshot = store.snapshot();
        let stored = snapshot.get(&CURSOR_BY_CONSUMER, &name.to_owned())?;
        let mut consumer = Self {
            store: store.clone(),
            name: name.to_owned(),
            cursor: stored.unwrap_or(snapshot.position()),
            watch,
        };
        if stored.is_none() {
            consumer.advance(snapshot.position()).await?;
        }
        check(&snapshot, consumer.cursor)?;
        Ok(consumer)
    }

    /// Begins again after `position`, whatever was read before.
    ///
    /// # Errors
    /// If the cursor cannot be written.
    pub async fn restart(
        store: &Store,
        name: &str,
        position: Position,
    ) -> Result<Self, StoreError> {
        let mut consumer = Self {
            store: store.clone(),
            name: name.to_owned(),
            cursor: position,
            watch: store.watch(&[LOG]),
        };
        consumer.advance(position).await?;
        Ok(consumer)
    }

    /// The next published records after the cursor, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::Trimmed`], or if the database fails.
    pub fn next(&self, limit: usize) -> Result<Vec<LogRecord>, StoreError> {
        records_after(&self.store.snapshot(), self.cursor, limit)
    }

    /// After what it goes on: [`records_after`] reads what follows where reading is not in
    /// others' way.
    pub fn position(&self) -> Position {
        self.cursor
    }

    /// Returns as soon as there may be records that were not there when
    /// [`Consumer::next`] was last called.
    pub async fn changed(&mut self) {
        self.watch.changed().await;
    }

    /// Goes on after `position` without storing that: for records that ask for nothing.
    /// They come again after a restart, unless [`Consumer::store`] follows before it.
    pub fn pass(&mut self, position: Position) {
        self.cursor = position;
    }

    /// Stores how far [`Consumer::pass`] has come.
    ///
    /// # Errors
    /// If the cursor cannot be written.
    pub async fn store(&mut self) -> Result<(), StoreError> {
        self.advance(self.cursor).await
    }

    /// Stores that everything up to `position` is done, in one commit with the rows that
    /// were made of it: after a crash either both are there or neither. Returns when it
    /// is on disk.
    ///
    /// # Errors
    /// If it cannot be written.
    pub async fn advance_with(
        &mut self,
        position: Position,
        rows: impl FnOnce(&Latest, &mut Batch) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<(), StoreError> {
        let done = done_with(self.name.clone(), position, rows);
        self.store.commit(done).await?;
        self.cursor = position;
        Ok(())
    }

    /// As [`Consumer::advance_with`], but without waiting for the disk: after a power cut
    /// the records come again, and none of their rows is there.
    ///
    /// # Errors
    /// If it cannot be written.
    pub async fn advance_later_with(
        &mut self,
        position: Position,
        rows: impl FnOnce(&Latest, &mut Batch) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<(), StoreError> {
        let done = done_with(self.name.clone(), position, rows);
        self.store.commit_later(done).await?;
        self.cursor = position;
        Ok(())
    }

    /// Stores that everything up to `position` is done. Call only when it is:
    /// advancing early would lose records, advancing late only repeats them.
    ///
    /// # Errors
    /// If the cursor cannot be written.
    pub async fn advance(&mut self, position: Position) -> Result<(), StoreError> {
        let name = self.name.clone();
        self.store
            .commit_later(move |_, _, batch| {
                batch.put(&CURSOR_BY_CONSUMER, &name, &position);
                Ok::<_, StoreError>(())
            })
            .await?;
        self.cursor = position;
        Ok(())
    }
}

/// The records after `position`, at most `limit`.
///
/// # Errors
/// [`StoreError::Trimmed`], or if the database fails.
pub fn records_after(
    view: &Snapshot,
    position: Position,
    limit: usize,
) -> Result<Vec<LogRecord>, StoreError> {
    check(view, position)?;
    view.scan_from(&LOG_BY_POSITION, &(), &Position(position.0 + 1))
        .take(limit)
        .map(|row| {
            let (position, bytes) = row?;
            decode(position, &bytes).map_err(|reason| StoreError::Corrupt {
                table: LOG_BY_POSITION.name,
                reason,
            })
        })
        .collect()
}

/// Whether the consumer of that name, if there is one, is done with everything up to `position`.
///
/// # Errors
/// If the database fails.
pub fn has_consumed(view: &Snapshot, name: &str, position: Position) -> Result<bool, StoreError> {
    let Some(cursor) = view.get(&CURSOR_BY_CONSUMER, &name.to_owned())? else {
        return Ok(true);
    };
    let next = view
        .scan_from(&LOG_BY_POSITION, &(), &Position(cursor.0 + 1))
        .next();
    // Not every commit leaves a record.
    Ok(match next {
        None => true,
        Some(row) => row?.0 > position,
    })
}

fn check(view: &impl Read, cursor: Position) -> Result<(), StoreError> {
    if cursor < trimmed(view)? {
        return Err(StoreError::Trimmed(cursor.0));
    }
    Ok(())
}

/// The last position that has been trimmed away.
fn trimmed(view: &impl Read) -> Result<Position, StoreError> {
    match view.get(&META_BY_NAME, &meta::TRIMMED)? {
        None => Ok(Position(0)),
        Some(bytes) => <Position as Value>::decode(&bytes).map_err(|reason| StoreError::Corrupt {
            table: META_BY_NAME.name,
            reason,
        }),
    }
}

/// Removes the log's records that were written before `before` (milliseconds since
/// the Unix epoch) and that every consumer has read. Returns how far it trimmed.
///
/// # Errors
/// If the database fails.
pub async fn trim(store: &Store, before: u64) -> Result<Position, StoreError> {
    let mut to = trimmed(&store.snapshot())?;
    loop {
        let (found, more) = store
            .read_long(move |snapshot| trim_step(snapshot, to, before))
            .await?;
        let Some(next) = found.last().copied() else {
            return Ok(to);
        };
        store
            .commit_later(move |_, _, batch| {
                // Not every number between two of them was ever given to a commit.
                for position in found {
                    batch.delete(&LOG_BY_POSITION, &position);
                }
                let mut bytes = Vec::new();
                Value::encode(&next, &mut bytes);
                batch.put(&META_BY_NAME, &meta::TRIMMED, &bytes);
                Ok::<_, StoreError>(())
            })
            .await?;
        to = next;
        if !more {
            return Ok(to);
        }
    }
}

/// The records that one step of [`trim`] may remove after `from`, and whether another step
/// may follow.
fn trim_step(
    snapshot: &Snapshot,
    from: Position,
    before: u64,
) -> Result<(Vec<Position>, bool), StoreError> {
    const STEP: usize = 4096;
    let mut slowest = Position(u64::MAX);
    for row in snapshot.scan(&CURSOR_BY_CONSUMER, &()) {
        slowest = slowest.min(row?.1);
    }
    let mut found = Vec::new();
    let rows = snapshot.scan_from(&LOG_BY_POSITION, &(), &Position(from.0 + 1));
    for row in rows {
        let (position, bytes) = row?;
        let record = decode(position, &bytes).map_err(|reason| StoreError::Corrupt {
            table: LOG_BY_POSITION.name,
            reason,
        })?;
        if position > slowest || record.written_at >= before {
            return Ok((found, false));
        }
        found.push(position);
        if found.len() == STEP {
            return Ok((found, true));
        }
    }
    Ok((found, false))
}

/// Writes the rows that were made of records, and that a consumer is done with these.
fn done_with(
    name: String,
    position: Position,
    rows: impl FnOnce(&Latest, &mut Batch) -> Result<(), StoreError> + Send + 'static,
) -> impl FnOnce(&Latest, Position, &mut Batch) -> Result<(), StoreError> + Send + 'static {
    move |latest, _, batch| {
        rows(latest, batch)?;
        batch.put(&CURSOR_BY_CONSUMER, &name, &position);
        Ok(())
    }
}
