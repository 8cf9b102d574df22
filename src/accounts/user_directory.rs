//! The user directory: people of this server by the words of their names and ids (client-server API, "User Directory").

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

fn localpart(user_id: &str) -> &str {
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
}

impl Term {
    /// `None` if nobody can be meant.
    fn parse(typed: &str, server_name: &ServerName) -> Option<Self> {
        if typed.len() > MAX_TERM_BYTES {
            return None;
        }
        let whole = typed.trim().to_lowercase();
        let name = match whole.split_once(':') {
            // A whole user id, or the beginning of one.
            Some((local, server)) if server_name.as_str().starts_with(server) => local,
            Some(_) if whole.starts_with('@') => return None,
            _ => &whole,
        };
        let words: Vec<String> = words(name).collect();
        (!words.is_empty()).then_some(Self { whole, words })
    }

    /// The word to look up: the longest finds the fewest.
    fn key(&self) -> &str {
        let longest = self.words.iter().max_by_key(|word| word.len());
        longest.map_or("", String::as_str)
    }

    /// How well somebody fits, 0 being the best; `None` for who does not.
    fn rank(&self, user_id: &str, display_name: Option<&str>) -> Option<u8> {
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

/// Looks for people of this server by the beginnings of the words of their names and ids. Only those are found whom `may_see` allows, and no accounts that
/// are locked or closed.
///
/// # Errors
/// If the database fails.
pub fn search_users(
    view: &impl Read,
    server_name: &ServerName,
    typed: &str,
    limit: usize,
    mut may_see: impl FnMut(UserSerial) -> Result<bool, StoreError>,
) -> Result<FoundUsers, StoreError> {
    let Some(term) = Term::parse(typed, server_name) else {
        return Ok(FoundUsers::default());
    };
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
        if let Some(ranked) = ranked(view, &term, user)?
            && may_see(user)?
        {
            found.push(ranked);
        }
    }
    found.sort();
    let limit = limit.clamp(1, MAX_LIMIT);
    let limited = found.len() > limit || examined == MAX_EXAMINED;
    let best = found.into_iter().take(limit);
    let users = best.map(|(_, _, user_id, user)| profile(view, user_id, user));
    Ok(FoundUsers {
        users: users.collect::<Result<_, _>>()?,
        limited,
    })
}

/// Sorts as the answer does: how well the user fits, whether there is no name to show, the user's id.
type Ranked = (u8, bool, String, UserSerial);

fn ranked(view: &impl Read, term: &Term, user: UserSerial) -> Result<Option<Ranked>, StoreError> {
    let account = account(view, user)?;
    if account.is_none_or(|account| account.is_locked || account.deactivated_at.is_some()) {
        return Ok(None);
    }
    let user_id = model::user_id(view, user)?.unwrap_or_default();
    let (name, _) = display_name_and_avatar(view, user)?;
    let rank = term.rank(&user_id, name.as_deref());
    Ok(rank.map(|rank| (rank, name.is_none(), user_id, user)))
}

fn profile(view: &impl Read, user_id: String, user: UserSerial) -> Result<FoundUser, StoreError> {
    let (display_name, avatar_url) = display_name_and_avatar(view, user)?;
    Ok(FoundUser {
        user_id,
        display_name,
        avatar_url,
    })
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
