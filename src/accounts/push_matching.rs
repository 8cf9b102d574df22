//! Which push rule an event matches (client-server API, "Push Rules"). No input or output: what a condition asks of the room, the caller answers.
//!
//! Every pattern is matched in one pass over the text, whatever its wildcards: rules are their user's, and the messages are everybody's.

use std::{cell::OnceCell, collections::HashMap, ops::RangeBounds as _};

use js_int::UInt;
use ruma_common::push::{AnyPushRuleRef, PushCondition, Ruleset, ScalarJsonValue};
use serde_json::Value;

/// The property that is matched word by word.
const BODY: &str = "content.body";
/// The most characters of a pattern with wildcards; a longer one matches nothing.
const MAX_PATTERN: usize = 127;

/// An event in its room, as the rules of one user see it.
pub trait PushContext {
    /// Why the room cannot be asked.
    type Error;

    /// The event in the form that clients get.
    fn event(&self) -> &Value;

    /// How many members have joined the room.
    ///
    /// # Errors
    /// If the room cannot be asked.
    fn members(&self) -> Result<u64, Self::Error>;

    /// The user's display name in the room.
    ///
    /// # Errors
    /// If the room cannot be asked.
    fn display_name(&self) -> Result<Option<String>, Self::Error>;

    /// Whether the event's sender has the power to notify in this way (`room`).
    ///
    /// # Errors
    /// If the room cannot be asked.
    fn sender_may_notify(&self, kind: &str) -> Result<bool, Self::Error>;

    /// Whether the user follows the thread that the event is in; none if it is in none
    /// (MSC4306).
    ///
    /// # Errors
    /// If the room cannot be asked.
    fn follows_thread(&self) -> Result<Option<bool>, Self::Error>;
}

/// The rule that decides about an event: the first that is enabled and matches.
///
/// # Errors
/// If the room cannot be asked.
pub fn matching_rule<'r, C: PushContext>(
    rules: &'r Ruleset,
    context: &C,
) -> Result<Option<AnyPushRuleRef<'r>>, C::Error> {
    let matcher = Matcher {
        context,
        body: OnceCell::new(),
    };
    for rule in rules {
        if rule.enabled() && matcher.rule(rule)? {
            return Ok(Some(rule));
        }
    }
    Ok(None)
}

struct Matcher<'c, C> {
    context: &'c C,
    /// The lower-case body, worked out at most once.
    body: OnceCell<Vec<char>>,
}

impl<C: PushContext> Matcher<'_, C> {
    fn rule(&self, rule: AnyPushRuleRef<'_>) -> Result<bool, C::Error> {
        match rule {
            AnyPushRuleRef::Override(rule)
            | AnyPushRuleRef::PostContent(rule)
            | AnyPushRuleRef::Underride(rule) => {
                for condition in &rule.conditions {
                    if !self.condition(condition)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            AnyPushRuleRef::Content(rule) => Ok(self.matches(BODY, &rule.pattern)),
            AnyPushRuleRef::Room(rule) => Ok(self.text("room_id") == Some(rule.rule_id.as_str())),
            AnyPushRuleRef::Sender(rule) => Ok(self.text("sender") == Some(rule.rule_id.as_str())),
            _ => Ok(false),
        }
    }

    #[expect(deprecated, reason = "a deprecated condition still counts")]
    fn condition(&self, condition: &PushCondition) -> Result<bool, C::Error> {
        let context = self.context;
        Ok(match condition {
            PushCondition::EventMatch(asked) => self.matches(&asked.key, &asked.pattern),
            PushCondition::EventPropertyIs(asked) => {
                property(context.event(), &asked.key).is_some_and(|value| is(value, &asked.value))
            }
            PushCondition::EventPropertyContains(asked) => {
                match property(context.event(), &asked.key) {
                    Some(Value::Array(values)) => {
                        values.iter().any(|value| is(value, &asked.value))
                    }
                    _ => false,
                }
            }
            PushCondition::ContainsDisplayName => match context.display_name()? {
                Some(name) if !name.is_empty() => {
                    Pattern::literal(&name).is_in(self.body(), Place::Words)
                }
                _ => false,
            },
            PushCondition::RoomMemberCount(asked) => {
                let members = UInt::new_saturating(context.members()?);
                asked.is.contains(&members)
            }
            PushCondition::SenderNotificationPermission(asked) => {
                context.sender_may_notify(asked.key.as_str())?
            }
            PushCondition::ThreadSubscription(asked) => {
                context.follows_thread()? == Some(asked.subscribed)
            }
            // What is not known matches nothing.
            _ => false,
        })
    }

    fn text(&self, path: &str) -> Option<&str> {
        property(self.context.event(), path)?.as_str()
    }

    fn matches(&self, path: &str, pattern: &str) -> bool {
        let Some(text) = self.text(path) else {
            return false;
        };
        let pattern = Pattern::glob(pattern);
        if path == BODY {
            pattern.is_in(self.body(), Place::Words)
        } else {
            pattern.is_in(&lower_case(text), Place::Whole)
        }
    }

    /// The body in lower case; empty if it is no text.
    fn body(&self) -> &[char] {
        self.body
            .get_or_init(|| lower_case(self.text(BODY).unwrap_or_default()))
    }
}

fn lower_case(text: &str) -> Vec<char> {
    text.chars().flat_map(char::to_lowercase).collect()
}

/// The property of an event at a dot-separated path (appendices, "Dot-separated property paths").
fn property<'e>(event: &'e Value, path: &str) -> Option<&'e Value> {
    let mut value = event;
    let mut name = String::new();
    let mut characters = path.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' if matches!(characters.peek(), Some('.' | '\\')) => {
                name.extend(characters.next());
            }
            '.' => {
                value = value.as_object()?.get(&name)?;
                name.clear();
            }
            other => name.push(other),
        }
    }
    value.as_object()?.get(&name)
}

fn is(value: &Value, asked: &ScalarJsonValue) -> bool {
    match asked {
        ScalarJsonValue::Null => value.is_null(),
        ScalarJsonValue::Bool(asked) => value.as_bool() == Some(*asked),
        ScalarJsonValue::Integer(asked) => value.as_i64() == Some(i64::from(*asked)),
        ScalarJsonValue::String(asked) => value.as_str() == Some(asked),
    }
}

/// Where in a text a pattern must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// It is the text.
    Whole,
    /// It begins and ends at the border of a word.
    Words,
}

/// A pattern that is matched without regard to case.
enum Pattern {
    /// These characters.
    Literal(Vec<char>),
    /// With wildcards: an automaton, a bit for each place in the pattern. After the
    /// last place stands the bit that says it has matched.
    Glob {
        /// The bits of the places that each character passes.
        passes: HashMap<char, u128>,
        /// The places of `?`.
        any: u128,
        /// The places of `*`.
        many: u128,
        /// The bit behind the last place.
        end: u128,
    },
    /// Too long.
    Nothing,
}

impl Pattern {
    fn literal(text: &str) -> Self {
        Self::Literal(lower_case(text))
    }

    /// A glob (appendices, "Glob-style matching").
    fn glob(text: &str) -> Self {
        if !text.contains(['*', '?']) {
            return Self::literal(text);
        }
        let mut pattern = lower_case(text);
        // Several say no more than one.
        pattern.dedup_by(|one, other| *one == '*' && *other == '*');
        if pattern.len() > MAX_PATTERN {
            return Self::Nothing;
        }
        let (mut passes, mut any, mut many) = (HashMap::new(), 0, 0);
        for (place, character) in pattern.iter().enumerate() {
            let bit = 1_u128 << place;
            match character {
                '*' => many |= bit,
                '?' => any |= bit,
                other => *passes.entry(*other).or_default() |= bit,
            }
        }
        Self::Glob {
            passes,
            any,
            many,
            end: 1 << pattern.len(),
        }
    }

    fn is_in(&self, text: &[char], place: Place) -> bool {
        match self {
            Self::Nothing => false,
            Self::Literal(pattern) if place == Place::Whole || pattern.is_empty() => {
                pattern == text
            }
            Self::Literal(pattern) => {
                text.windows(pattern.len()).enumerate().any(|(from, part)| {
                    part == pattern
                        && is_border(text, from)
                        && is_border(text, from + pattern.len())
                })
            }
            Self::Glob {
                passes,
                any,
                many,
                end,
            } => {
                let mut active = 0_u128;
                for (at, character) in text.iter().map(Some).chain([None]).enumerate() {
                    let is_last = character.is_none();
                    let (may_begin, may_end) = match place {
                        Place::Whole => (at == 0, is_last),
                        Place::Words => (is_border(text, at), is_border(text, at)),
                    };
                    active |= u128::from(may_begin);
                    // A `*` may stand for nothing.
                    active |= (active & many) << 1;
                    if may_end && active & end != 0 {
                        return true;
                    }
                    let Some(character) = character else { break };
                    let passed = passes.get(character).copied().unwrap_or_default();
                    active = (active & many) | ((active & (passed | any)) << 1);
                }
                false
            }
        }
    }
}

/// Whether a word may begin or end before the character at `at`.
fn is_border(text: &[char], at: usize) -> bool {
    let is_word = |at: usize| {
        text.get(at)
            .is_some_and(|character| character.is_ascii_alphanumeric() || *character == '_')
    };
    at == 0 || !is_word(at) || !is_word(at - 1)
}

#[cfg(test)]
mod tests;
