//! The user directory: people by the words of their names and ids (client-server API, "User Directory"). Those of this server stand in an index; who of other servers is
//! meant is for the caller to say.

use std::collections::{BTreeSet, HashSet};

use model::{
    UserSerial,
    tables::{DirectoryWord, USER_BY_WORD},
};
use ruma_common::{ServerName, UserId};
use store::{Batch, Latest, Read, StoreError};

use crate::{account, display_name_and_avatar};

/// The longest text that is searched for, in bytes.
const MAX_TERM_BYTES: usize = 1_024;
/// The most words of one user that are found.
const MAX_WORDS: usize = 64;
/// The most users in one answer.
const MAX_LIMIT: usize = 100;
/// The most rows that one search looks at.
const MAX_EXAMINED: usize = 5_000;

/// Somebody who was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundUser {
    /// The user's id.
    pub user_id: String,
    /// The name that the user goes by.
    pub display_name: Option<String>,
    /// The URL of the user's avatar.
    pub avatar_url: Option<String>,
}

/// What a search has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundUsers {
    /// The best first.
    pub users: Vec<FoundUser>,
    /// Whether there are more.
    pub limited: bool,
}

/// The words of a text in lower case.
fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|character: char| !character.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

/// A word as it stands in the index: its first bytes.
fn indexed(word: &str) -> DirectoryWord {
    let mut bytes = DirectoryWord::default();
    let length = word.len().min(bytes.len());
    bytes[..length].copy_from_slice(&word.as_bytes()[..length]);
    bytes
}

/// The words under which somebody is found.
pub(crate) fn words_of(user_id: &str, display_name: Option<&str>) -> BTreeSet<DirectoryWord> {
    let localpart = localpart(user_id);
    words(localpart)
        .chain(words(display_name.unwrap_or_default()))
        .take(MAX_WORDS)
        .map(|word| indexed(&word))
        .collect()
}

/// The name before the colon.
pub(crate) fn localpart(user_id: &str) -> &str {
    let id = user_id.strip_prefix('@').unwrap_or(user_id);
    id.split_once(':').map_or(id, |(localpart, _)| localpart)
}

/// Adds a new user, with the name that they go by if they have one already.
pub(crate) fn add(batch: &mut Batch, user: UserSerial, user_id: &UserId, name: Option<&str>) {
    for word in words_of(user_id.as_str(), name) {
        batch.put(&USER_BY_WORD, &(word, user), &());
    }
}

/// Lets a user be found by another name, in the commit that changes it.
pub(crate) fn rename(
    latest: &Latest,
    batch: &mut Batch,
    user: UserSerial,
    name: Option<&str>,
) -> Result<(), StoreError> {
    let user_id = model::user_id(latest, user)?.unwrap_or_default();
    let (earlier, _) = display_name_and_avatar(latest, user)?;
    let (before, after) = (
        words_of(&user_id, earlier.as_deref()),
        words_of(&user_id, name),
    );
    for word in before.difference(&after) {
        batch.delete(&USER_BY_WORD, &(*word, user));
    }
    for word in after {
        batch.put(&USER_BY_WORD, &(word, user), &());
    }
    Ok(())
}

/// Takes out a user whose account ends.
pub(crate) fn remove(
    latest: &Latest,
    batch: &mut Batch,
    user: UserSerial,
) -> Result<(), StoreError> {
    let user_id = model::user_id(latest, user)?.unwrap_or_default();
    let (name, _) = display_name_and_avatar(latest, user)?;
    for word in words_of(&user_id, name.as_deref()) {
        batch.delete(&USER_BY_WORD, &(word, user));
    }
    Ok(())
}

/// What somebody typed to find others.
struct Term {
    /// In lower case, as a whole.
    whole: String,
    words: Vec<String>,
    /// The beginning of the name of the server whose users alone are meant.
    server: Option<String>,
}

impl Term {
    /// `None` if nobody can be meant.
    fn parse(typed: &str, server_name: &ServerName) -> Option<Self> {
        if typed.len() > MAX_TERM_BYTES {
            return None;
        }
        let whole = typed.trim().to_lowercase();
        let is_id =
            |server: &str| whole.starts_with('@') || server_name.as_str().starts_with(server);
        let (name, server) = match whole.split_once(':') {
            // A whole user id, or the beginning of one.
            Some((local, server)) if is_id(server) => (local, Some(server.to_owned())),
            _ => (&*whole, None),
        };
        let words: Vec<String> = words(name).collect();
        (!words.is_empty()).then_some(Self {
            words,
            server,
            whole,
        })
    }

    /// The word to look up: the longest finds the fewest.
    fn key(&self) -> &str {
        let longest = self.words.iter().max_by_key(|word| word.len());
        longest.map_or("", String::as_str)
    }

    /// How well somebody fits, 0 being the best; `None` for who does not.
    fn rank(&self, user_id: &str, display_name: Option<&str>) -> Option<u8> {
        if let Some(server) = &self.server {
            let (_, theirs) = user_id.split_once(':')?;
            if !theirs.to_lowercase().starts_with(server) {
                return None;
            }
        }
        let name = display_name.unwrap_or_default().to_lowercase();
        if [user_id, localpart(user_id), &name].contains(&self.whole.as_str()) {
            return Some(0);
        }
        let known: Vec<String> = words(localpart(user_id)).chain(words(&name)).collect();
        let begins = |term: &String| known.iter().any(|word| word.starts_with(term));
        if !self.words.iter().all(begins) {
            return None;
        }
        Some(1 + u8::from(!self.words.iter().all(|term| known.contains(term))))
    }
}

/// A search of the user directory.
pub struct UserSearch<'a, V, O> {
    /// This server's name.
    pub server_name: &'a ServerName,
    /// What somebody typed.
    pub typed: &'a str,
    /// How many are wanted.
    pub limit: usize,
    /// Whom of this server the searcher may find.
    pub may_see: V,
    /// Shows the people of other servers whom the searcher may find, perhaps by several names. Returns whether these are all.
    pub others: O,
}

impl<V, O> UserSearch<'_, V, O>
where
    V: FnMut(UserSerial) -> Result<bool, StoreError>,
    O: FnOnce(&mut dyn FnMut(FoundUser)) -> Result<bool, StoreError>,
{
    /// Looks for people by the beginnings of the words of their names and ids. No accounts are found that are locked or closed.
    ///
    /// # Errors
    /// If the database fails.
    pub fn run(self, view: &impl Read) -> Result<FoundUsers, StoreError> {
        let Some(term) = Term::parse(self.typed, self.server_name) else {
            return Ok(FoundUsers::default());
        };
        let (mut found, mut are_all) = of_this_server(view, &term, self.may_see)?;
        are_all &= (self.others)(&mut |user| found.extend(ranked(&term, user)))?;
        // Of several names of one user the one that fits best is shown.
        found.sort_unstable_by(|one, other| one.order().cmp(&other.order()));
        let mut shown = HashSet::new();
        found.retain(|ranked| shown.insert(ranked.user.user_id.clone()));
        let limit = self.limit.clamp(1, MAX_LIMIT);
        let limited = found.len() > limit || !are_all;
        found.truncate(limit);
        Ok(FoundUsers {
            users: found.into_iter().map(|ranked| ranked.user).collect(),
            limited,
        })
    }
}

/// Somebody whom a term fits, and how well.
struct Ranked {
    rank: u8,
    user: FoundUser,
}

impl Ranked {
    /// Sorts as the answer does: how well the user fits, whether there is no name to show, the user's id.
    fn order(&self) -> (u8, bool, &str) {
        let user = &self.user;
        (self.rank, user.display_name.is_none(), &user.user_id)
    }
}

fn ranked(term: &Term, user: FoundUser) -> Option<Ranked> {
    let rank = term.rank(&user.user_id, user.display_name.as_deref())?;
    Some(Ranked { rank, user })
}

/// The people of this server whom a term fits, and whether these are all.
fn of_this_server(
    view: &impl Read,
    term: &Term,
    mut may_see: impl FnMut(UserSerial) -> Result<bool, StoreError>,
) -> Result<(Vec<Ranked>, bool), StoreError> {
    let from = indexed(term.key());
    let length = term.key().len().min(from.len());
    let (mut found, mut seen, mut examined) = (Vec::new(), HashSet::new(), 0);
    for row in view.scan_from(&USER_BY_WORD, &(), &(from, UserSerial(0))) {
        let ((word, user), ()) = row?;
        if word[..length] != from[..length] || examined == MAX_EXAMINED {
            break;
        }
        examined += 1;
        if !seen.insert(user) {
            continue;
        }
        if let Some(profile) = profile(view, user)?
            && let Some(ranked) = ranked(term, profile)
            && may_see(user)?
        {
            found.push(ranked);
        }
    }
    Ok((found, examined < MAX_EXAMINED))
}

/// How somebody of this server is shown; none for accounts that nobody finds.
fn profile(view: &impl Read, user: UserSerial) -> Result<Option<FoundUser>, StoreError> {
    let account = account(view, user)?;
    if account.is_none_or(|account| account.is_locked || account.deactivated_at.is_some()) {
        return Ok(None);
    }
    let (display_name, avatar_url) = display_name_and_avatar(view, user)?;
    Ok(Some(FoundUser {
        user_id: model::user_id(view, user)?.unwrap_or_default(),
        display_name,
        avatar_url,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank(typed: &str, user_id: &str, name: &str) -> Option<u8> {
        let server_name = <&ServerName>::try_from("a.test").unwrap();
        Term::parse(typed, server_name)?.rank(user_id, Some(name))
    }

    #[test]
    fn a_term_fits_by_the_beginnings_of_words() {
        let (id, name) = ("@a.mueller:a.test", "Änne Müller-Lüdenscheidt");
        for (typed, expected) in [
            ("@a.mueller:a.test", Some(0)),
            ("A.Mueller", Some(0)),
            ("änne müller-lüdenscheidt", Some(0)),
            ("müller", Some(1)),
            ("Änne lüdenscheidt", Some(1)),
            ("lüd ÄN", Some(2)),
            ("@a.mue", Some(2)),
            ("@a.mueller:a.te", Some(1)),
            ("@a.muell:a.test", Some(2)),
            ("@a.mueller:b.test", None),
            ("üller", None),
            ("änne schmidt", None),
            ("", None),
            (" @ : ", None),
        ] {
            assert_eq!(rank(typed, id, name), expected, "{typed}");
        }
    }

    #[test]
    fn a_long_word_is_found_by_its_beginning() {
        let long = "donaudampfschifffahrtsgesellschaft";
        assert_eq!(indexed(long), indexed("donaudampfschifffahrtsgesell"));
        assert_eq!(&indexed("ab")[..3], b"ab\0");
        assert_eq!(rank(long, "@d:a.test", long), Some(0));
        assert_eq!(
            rank("donaudampfschifffahrtsgesellen", "@d:a.test", long),
            None
        );
    }
}
