//! The state of a room as a persistent map of (type, state key) → event.
//!
//! Two levels of the same tree: event types lead to trees of state keys, so that
//! one type can be listed alone. A tree is a hash trie over a keyed hash of its
//! keys: at most [`BUCKET`] entries stand in one node, more are divided by the next
//! four bits of the hash. The shape depends on the entries alone, never on the
//! order in which they came, and a node's name is the hash of its content: equal
//! states have equal roots. The key of the hash is the server's secret, so nobody
//! outside can choose keys that make a tree deep.

use std::collections::{BTreeMap, HashMap};

use model::{EventSerial, RoomSerial, StateRoot, tables::STATE_NODE_BY_HASH};
use sha2::{Digest, Sha256};
use store::{Read, StoreError};

/// The most entries of one node.
const BUCKET: usize = 16;
/// How many children a divided node can have: four bits of the hash.
const WIDTH: usize = 16;
/// Levels that a 128-bit hash can feed. Deeper than this there are only true
/// duplicates, of which there are none.
const DEPTH_LIMIT: usize = 32;
/// The root of the empty map.
pub const EMPTY: StateRoot = [0; 16];

/// Where nodes are found: written ones in the store, new ones in memory.
pub struct StateMaps<'a, R> {
    view: &'a R,
    room: RoomSerial,
    secret: &'a [u8; 32],
    fresh: HashMap<StateRoot, Vec<u8>>,
}

/// One entry of a tree: a key, its hash, and what stands under it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    key: Box<[u8]>,
    value: Box<[u8]>,
}

/// A node, decoded.
enum Node {
    /// Few entries, sorted by key.
    Bucket(Vec<Entry>),
    /// The children by the next four bits, each with the number of its entries.
    Branch(Box<[Option<(StateRoot, u32)>; WIDTH]>),
}

impl Node {
    fn count(&self) -> usize {
        match self {
            Node::Bucket(entries) => entries.len(),
            Node::Branch(children) => children
                .iter()
                .flatten()
                .map(|(_, count)| *count as usize)
                .sum(),
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        match self {
            Node::Bucket(entries) => {
                out.push(0);
                for entry in entries {
                    for part in [&entry.key, &entry.value] {
                        let length = u16::try_from(part.len()).unwrap_or(u16::MAX);
                        out.extend_from_slice(&length.to_be_bytes());
                        out.extend_from_slice(part);
                    }
                }
            }
            Node::Branch(children) => {
                out.push(1);
                for (index, child) in children.iter().enumerate() {
                    if let Some((name, count)) = child {
                        out.push(u8::try_from(index).unwrap_or_default());
                        out.extend_from_slice(name);
                        out.extend_from_slice(&count.to_be_bytes());
                    }
                }
            }
        }
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (&kind, mut rest) = bytes.split_first()?;
        if kind == 1 {
            let mut children = Box::new([None; WIDTH]);
            while let Some((&index, tail)) = rest.split_first() {
                let (name, tail) = tail.split_at_checked(16)?;
                let (count, tail) = tail.split_at_checked(4)?;
                *children.get_mut(usize::from(index))? = Some((
                    name.try_into().ok()?,
                    u32::from_be_bytes(count.try_into().ok()?),
                ));
                rest = tail;
            }
            return Some(Node::Branch(children));
        }
        let mut entries = Vec::new();
        let part = |rest: &mut &[u8]| -> Option<Box<[u8]>> {
            let (length, tail) = rest.split_at_checked(2)?;
            let length = u16::from_be_bytes(length.try_into().ok()?);
            let (part, tail) = tail.split_at_checked(usize::from(length))?;
            *rest = tail;
            Some(part.into())
        };
        while !rest.is_empty() {
            let key = part(&mut rest)?;
            let value = part(&mut rest)?;
            entries.push(Entry { key, value });
        }
        Some(Node::Bucket(entries))
    }
}

impl<'a, R: Read> StateMaps<'a, R> {
    /// The state maps of `room`, read from `view`; `secret` is [`store::Store::secret`].
    pub fn new(view: &'a R, room: RoomSerial, secret: &'a [u8; 32]) -> Self {
        Self {
            view,
            room,
            secret,
            fresh: HashMap::new(),
        }
    }

    /// The nodes that were made here and are not stored yet.
    pub fn into_fresh(self) -> HashMap<StateRoot, Vec<u8>> {
        self.fresh
    }

    /// Puts back nodes that were made before and are not stored yet.
    pub fn with_fresh(mut self, fresh: HashMap<StateRoot, Vec<u8>>) -> Self {
        self.fresh = fresh;
        self
    }

    /// The event under a type and state key.
    ///
    /// # Errors
    /// If the database fails or a node is damaged.
    pub fn get(
        &self,
        root: StateRoot,
        event_type: &str,
        state_key: &str,
    ) -> Result<Option<EventSerial>, StoreError> {
        let Some(keys) = self.find(root, event_type.as_bytes())? else {
            return Ok(None);
        };
        let keys = keys.as_ref().try_into().map_err(|_| damaged())?;
        self.find(keys, state_key.as_bytes())?
            .map(|serial| serial_of(&serial))
            .transpose()
    }

    /// The state keys of one type and their events, in no particular order.
    ///
    /// # Errors
    /// If the database fails or a node is damaged.
    pub fn of_type(
        &self,
        root: StateRoot,
        event_type: &str,
    ) -> Result<Vec<(String, EventSerial)>, StoreError> {
        let Some(keys) = self.find(root, event_type.as_bytes())? else {
            return Ok(Vec::new());
        };
        self.keys(keys.as_ref().try_into().map_err(|_| damaged())?)
    }

    /// The whole state, in no particular order: (type, state key, event).
    ///
    /// # Errors
    /// If the database fails or a node is damaged.
    pub fn all(&self, root: StateRoot) -> Result<Vec<(String, String, EventSerial)>, StoreError> {
        let mut state = Vec::new();
        for entry in self.entries(root)? {
            let event_type = text(&entry.key)?;
            let keys = entry.value.as_ref().try_into().map_err(|_| damaged())?;
            for (state_key, event) in self.keys(keys)? {
                state.push((event_type.clone(), state_key, event));
            }
        }
        Ok(state)
    }

    /// The root of the state in which `event` stands under a type and state key, and
    /// everything else is as under `root`.
    ///
    /// # Errors
    /// If the database fails or a node is damaged.
    pub fn insert(
        &mut self,
        root: StateRoot,
        event_type: &str,
        state_key: &str,
        event: EventSerial,
    ) -> Result<StateRoot, StoreError> {
        let keys = match self.find(root, event_type.as_bytes())? {
            Some(keys) => keys.as_ref().try_into().map_err(|_| damaged())?,
            None => EMPTY,
        };
        let keys = self.set(keys, state_key.as_bytes(), Some(&event.0.to_be_bytes()))?;
        self.set(root, event_type.as_bytes(), Some(&keys))
    }

    /// The root of the state of these (type, state key, event), of which the last of several
    /// with the same key counts: in one go, for states that come whole.
    ///
    /// # Errors
    /// None that [`StateMaps::insert`] would not have.
    pub fn build(
        &mut self,
        entries: Vec<(String, String, EventSerial)>,
    ) -> Result<StateRoot, StoreError> {
        let mut types: BTreeMap<String, BTreeMap<String, EventSerial>> = BTreeMap::new();
        for (event_type, state_key, event) in entries {
            types
                .entry(event_type)
                .or_default()
                .insert(state_key, event);
        }
        let mut roots = Vec::with_capacity(types.len());
        for (event_type, keys) in types {
            let entries = keys.into_iter().map(|(state_key, event)| Entry {
                key: state_key.into_bytes().into(),
                value: event.0.to_be_bytes().into(),
            });
            let node = self.divide(entries.collect(), 0);
            roots.push(Entry {
                key: event_type.into_bytes().into(),
                value: self.save(&node).into(),
            });
        }
        let node = self.divide(roots, 0);
        Ok(self.save(&node))
    }

    /// The root of the state in which nothing stands under a type and state key.
    ///
    /// # Errors
    /// If the database fails or a node is damaged.
    pub fn remove(
        &mut self,
        root: StateRoot,
        event_type: &str,
        state_key: &str,
    ) -> Result<StateRoot, StoreError> {
        let Some(keys) = self.find(root, event_type.as_bytes())? else {
            return Ok(root);
        };
        let keys = keys.as_ref().try_into().map_err(|_| damaged())?;
        let keys = self.set(keys, state_key.as_bytes(), None)?;
        let value: Option<&[u8]> = if keys == EMPTY { None } else { Some(&keys) };
        self.set(root, event_type.as_bytes(), value)
    }

    /// What stands under `to` and not, or another event, under `from`: (type, state key,
    /// event). Costs as much as the two differ, not as they are large.
    ///
    /// # Errors
    /// If the database fails or a node is damaged.
    pub fn changed(
        &self,
        from: StateRoot,
        to: StateRoot,
    ) -> Result<Vec<(String, String, EventSerial)>, StoreError> {
        let mut state = Vec::new();
        for entry in self.changed_entries(from, to)? {
            let event_type = text(&entry.key)?;
            let keys = entry.value.as_ref().try_into().map_err(|_| damaged())?;
            let earlier = match self.find(from, &entry.key)? {
                Some(earlier) => earlier.as_ref().try_into().map_err(|_| damaged())?,
                None => EMPTY,
            };
            for key in self.changed_entries(earlier, keys)? {
                state.push((event_type.clone(), text(&key.key)?, serial_of(&key.value)?));
            }
        }
        Ok(state)
    }

    /// The entries of one tree that another does not have, or with another value.
    fn changed_entries(&self, from: StateRoot, to: StateRoot) -> Result<Vec<Entry>, StoreError> {
        let mut changed = Vec::new();
        let mut open = vec![(from, to)];
        while let Some((from, to)) = open.pop() {
            if from == to {
                continue;
            }
            match (self.load(from)?, self.load(to)?) {
                (Node::Branch(from), Node::Branch(to)) => {
                    for (from, to) in from.iter().zip(to.iter()) {
                        let name =
                            |child: &Option<(StateRoot, u32)>| child.map_or(EMPTY, |it| it.0);
                        open.push((name(from), name(to)));
                    }
                }
                // Of different shape: at most one bucket's worth of entries is alike.
                _ => {
                    let known: HashMap<_, _> = self
                        .entries(from)?
                        .into_iter()
                        .map(|entry| (entry.key, entry.value))
                        .collect();
                    changed.extend(
                        self.entries(to)?
                            .into_iter()
                            .filter(|entry| known.get(&entry.key) != Some(&entry.value)),
                    );
                }
            }
        }
        Ok(changed)
    }

    fn keys(&self, root: StateRoot) -> Result<Vec<(String, EventSerial)>, StoreError> {
        self.entries(root)?
            .into_iter()
            .map(|entry| Ok((text(&entry.key)?, serial_of(&entry.value)?)))
            .collect()
    }

    fn hash(&self, domain: u8, bytes: &[u8]) -> StateRoot {
        let mut hasher = Sha256::new();
        hasher.update(self.secret);
        hasher.update([domain]);
        hasher.update(bytes);
        let mut out = EMPTY;
        out.copy_from_slice(&hasher.finalize()[..16]);
        out
    }

    fn load(&self, name: StateRoot) -> Result<Node, StoreError> {
        if name == EMPTY {
            return Ok(Node::Bucket(Vec::new()));
        }
        if let Some(bytes) = self.fresh.get(&name) {
            return Node::decode(bytes).ok_or_else(damaged);
        }
        let bytes = self
            .view
            .get(&STATE_NODE_BY_HASH, &(self.room, name))?
            .ok_or_else(damaged)?;
        Node::decode(&bytes).ok_or_else(damaged)
    }

    fn save(&mut self, node: &Node) -> StateRoot {
        if node.count() == 0 {
            return EMPTY;
        }
        let bytes = node.encode();
        let name = self.hash(1, &bytes);
        self.fresh.insert(name, bytes);
        name
    }

    fn find(&self, root: StateRoot, key: &[u8]) -> Result<Option<Box<[u8]>>, StoreError> {
        let hash = self.hash(0, key);
        let mut node = self.load(root)?;
        for depth in 0.. {
            match node {
                Node::Bucket(entries) => {
                    return Ok(entries
                        .into_iter()
                        .find(|entry| *entry.key == *key)
                        .map(|entry| entry.value));
                }
                Node::Branch(children) => match children[nibble(&hash, depth)] {
                    Some((child, _)) => node = self.load(child)?,
                    None => return Ok(None),
                },
            }
        }
        Ok(None)
    }

    /// All entries of a tree.
    fn entries(&self, root: StateRoot) -> Result<Vec<Entry>, StoreError> {
        let mut found = Vec::new();
        let mut open = vec![root];
        while let Some(name) = open.pop() {
            match self.load(name)? {
                Node::Bucket(mut entries) => found.append(&mut entries),
                Node::Branch(children) => {
                    open.extend(children.iter().flatten().map(|(child, _)| *child));
                }
            }
        }
        Ok(found)
    }

    fn set(
        &mut self,
        root: StateRoot,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<StateRoot, StoreError> {
        let hash = self.hash(0, key);
        Ok(self.set_below(root, &hash, 0, key, value)?.0)
    }

    /// Sets one key below the node `name` and returns the node that takes its place,
    /// with the number of its entries.
    fn set_below(
        &mut self,
        name: StateRoot,
        hash: &StateRoot,
        depth: usize,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(StateRoot, u32), StoreError> {
        let node = match self.load(name)? {
            Node::Bucket(mut entries) => {
                match (
                    entries.binary_search_by(|entry| (*entry.key).cmp(key)),
                    value,
                ) {
                    (Ok(at), Some(value)) => entries[at].value = value.into(),
                    (Ok(at), None) => {
                        entries.remove(at);
                    }
                    (Err(at), Some(value)) => entries.insert(
                        at,
                        Entry {
                            key: key.into(),
                            value: value.into(),
                        },
                    ),
                    (Err(_), None) => {}
                }
                self.divide(entries, depth)
            }
            Node::Branch(mut children) => {
                let slot = nibble(hash, depth);
                let child = children[slot].map_or(EMPTY, |(child, _)| child);
                let (child, count) = self.set_below(child, hash, depth + 1, key, value)?;
                children[slot] = (count > 0).then_some((child, count));
                let node = Node::Branch(children);
                if node.count() > BUCKET {
                    node
                } else {
                    // The shape is a matter of the entries alone: few stand together.
                    self.gather(node)?
                }
            }
        };
        let count = u32::try_from(node.count()).unwrap_or(u32::MAX);
        Ok((self.save(&node), count))
    }

    /// A node of these entries, sorted by key: one bucket, or divided until all are.
    fn divide(&mut self, entries: Vec<Entry>, depth: usize) -> Node {
        if entries.len() <= BUCKET || depth >= DEPTH_LIMIT {
            return Node::Bucket(entries);
        }
        let mut parts: [Vec<Entry>; WIDTH] = Default::default();
        for entry in entries {
            let hash = self.hash(0, &entry.key);
            parts[nibble(&hash, depth)].push(entry);
        }
        let mut children = Box::new([None; WIDTH]);
        for (slot, part) in parts.into_iter().enumerate() {
            if part.is_empty() {
                continue;
            }
            let count = u32::try_from(part.len()).unwrap_or(u32::MAX);
            let node = self.divide(part, depth + 1);
            children[slot] = Some((self.save(&node), count));
        }
        Node::Branch(children)
    }

    fn gather(&self, node: Node) -> Result<Node, StoreError> {
        let Node::Branch(children) = node else {
            return Ok(node);
        };
        let mut entries = Vec::with_capacity(BUCKET);
        for (child, _) in children.iter().flatten() {
            entries.append(&mut self.entries(*child)?);
        }
        entries.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Node::Bucket(entries))
    }
}

fn nibble(hash: &StateRoot, depth: usize) -> usize {
    let byte = hash[(depth / 2) % hash.len()];
    usize::from(if depth.is_multiple_of(2) {
        byte >> 4
    } else {
        byte & 15
    })
}

fn text(bytes: &[u8]) -> Result<String, StoreError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| damaged())
}

fn serial_of(bytes: &[u8]) -> Result<EventSerial, StoreError> {
    bytes
        .try_into()
        .map(|bytes| EventSerial(u64::from_be_bytes(bytes)))
        .map_err(|_| damaged())
}

fn damaged() -> StoreError {
    StoreError::Corrupt {
        table: STATE_NODE_BY_HASH.name,
        reason: store::DecodeError("a damaged or missing node"),
    }
}
