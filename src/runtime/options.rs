//! Options of the configuration: each crate declares its own with
//! [`options!`](crate::options!), and the binary composes them.
//!
//! An option's doc comment and default are also its entry in
//! `config/cairn.example.toml`.

use std::{
    fmt,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

#[doc(hidden)]
pub use serde;

/// One option, as the example configuration shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionDescription {
    /// Its name within its section.
    pub key: &'static str,
    /// Its doc comment: what it does, with its unit. Lines are separated by `\n`.
    pub doc: String,
    /// Its default as a TOML value; `None` when the option is unset by default.
    pub default: Option<String>,
}

/// A secret in the configuration: never shown, neither by `Debug` nor when the
/// configuration is written out again. Empty means unset.
///
/// `"credential:NAME"` is what stands in the file NAME that the service manager hands over
/// (systemd's `LoadCredential=`), without white space at its ends. Where that file is not,
/// as for a command that somebody types, the secret is unset, and [`ABSENT`] begins how
/// it is shown.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Written")]
pub struct Secret {
    text: String,
    /// The credential's name, if it is not there.
    absent: Option<String>,
}

/// How a secret is shown whose credential is not there begins so; its name follows.
pub const ABSENT: &str = "(no credential here) ";
/// Begins the name of a credential.
const CREDENTIAL: &str = "credential:";
/// The longest credential, in bytes.
const MAX_CREDENTIAL: u64 = 64 << 10;

impl Secret {
    /// The secret itself.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// Whether no secret is set.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    fn hidden(&self) -> String {
        match (&self.absent, self.text.is_empty()) {
            (Some(name), _) => format!("{ABSENT}{name}"),
            (None, true) => String::new(),
            (None, false) => "(hidden)".to_owned(),
        }
    }

    fn of(text: String, credentials: Option<&Path>) -> Self {
        let Some(name) = text.strip_prefix(CREDENTIAL) else {
            return Self { text, absent: None };
        };
        match credentials.and_then(|folder| credential(folder, name)) {
            Some(text) => Self { text, absent: None },
            None => Self {
                text: String::new(),
                absent: Some(name.to_owned()),
            },
        }
    }
}

/// What stands in a credential; none if it is not there, is no name, or is empty.
fn credential(folder: &Path, name: &str) -> Option<String> {
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return None;
    }
    let mut text = String::new();
    let file = File::open(folder.join(name)).ok()?;
    file.take(MAX_CREDENTIAL).read_to_string(&mut text).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// A secret as the configuration writes it.
#[derive(Deserialize)]
#[serde(transparent)]
struct Written(String);

impl From<Written> for Secret {
    fn from(written: Written) -> Self {
        let folder = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        Self::of(written.0, folder.as_deref())
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self { text, absent: None }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.hidden(), formatter)
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.hidden())
    }
}

/// Declares the options of one section of the configuration.
///
/// Writes the struct with `Clone`, `Debug`, `Default`, `Serialize` and
/// `Deserialize` (every key may be left out, an unknown one is an error), its
/// section's name as `SECTION`, and `describe()`, which gives each option's key,
/// documentation and default.
///
/// ```
/// runtime::options! {
///     /// How rooms are made.
///     pub struct RoomsOptions in "rooms" {
///         /// The version of a new room.
///         pub default_version: String = "12".into(),
///     }
/// }
/// assert_eq!(RoomsOptions::SECTION, "rooms");
/// assert_eq!(RoomsOptions::default().default_version, "12");
/// assert_eq!(RoomsOptions::describe()[0].doc, "The version of a new room.");
/// assert_eq!(RoomsOptions::describe()[0].default.as_deref(), Some("\"12\""));
/// ```
#[macro_export]
macro_rules! options {
    (
        $(#[$($attribute:tt)*])*
        $visibility:vis struct $name:ident in $section:literal {
            $(
                $(#[$($field_attribute:tt)*])*
                $field_visibility:vis $field:ident : $type:ty = $default:expr
            ),* $(,)?
        }
    ) => {
        $(#[$($attribute)*])*
        #[derive(
            Clone,
            Debug,
            $crate::options::serde::Serialize,
            $crate::options::serde::Deserialize,
        )]
        #[serde(crate = "runtime::options::serde", default, deny_unknown_fields)]
        $visibility struct $name {
            $(
                $(#[$($field_attribute)*])*
                $field_visibility $field: $type,
            )*
        }

        impl ::std::default::Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        #[allow(dead_code, reason = "not every struct is described by itself")]
        impl $name {
            /// The name of this section in the configuration.
            $visibility const SECTION: &'static str = $section;

            /// What this section is for: its doc comment.
            $visibility fn about() -> String {
                $crate::options::join_doc(&[$($crate::options!(@doc $($attribute)*)),*])
            }

            /// Each option of this section, in the order of declaration.
            $visibility fn describe() -> ::std::vec::Vec<$crate::OptionDescription> {
                let default = Self::default();
                ::std::vec![$(
                    $crate::OptionDescription {
                        key: stringify!($field),
                        doc: $crate::options::join_doc(
                            &[$($crate::options!(@doc $($field_attribute)*)),*]
                        ),
                        default: $crate::options::render(&default.$field),
                    }
                ),*]
            }
        }
    };
    (@doc doc = $text:expr) => { ::std::option::Option::Some($text) };
    (@doc $($other:tt)*) => { ::std::option::Option::None };
}

/// The lines of a doc comment, without the space that each begins with.
#[doc(hidden)]
pub fn join_doc(lines: &[Option<&str>]) -> String {
    let lines: Vec<&str> = lines
        .iter()
        .flatten()
        .map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end())
        .collect();
    lines.join("\n").trim().to_owned()
}

/// `value` as TOML writes it behind `key =`, on one line; `None` if it is unset.
#[doc(hidden)]
pub fn render<T: Serialize>(value: &T) -> Option<String> {
    toml::Value::try_from(value)
        .ok()
        .map(|value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    options! {
        /// Options of a test.
        pub(crate) struct TestOptions in "test" {
            /// The longest wait, in seconds.
            ///
            /// Zero: none.
            pub(crate) wait: u64 = 30,
            /// Names.
            pub(crate) names: Vec<String> = Vec::new(),
            /// A secret.
            pub(crate) secret: Secret = Secret::default(),
            /// A file.
            #[serde(rename = "file")]
            pub(crate) file: Option<String> = None,
        }
    }

    #[test]
    fn a_secret_can_be_handed_over() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("turn"), "hush\n").unwrap();
        std::fs::write(folder.path().join("empty"), "\n").unwrap();
        let of = |text: &str| Secret::of(text.to_owned(), Some(folder.path()));
        assert_eq!(of("credential:turn").reveal(), "hush");
        assert_eq!(format!("{:?}", of("credential:turn")), "\"(hidden)\"");
        assert_eq!(of("plain").reveal(), "plain");
        for absent in ["other", "empty", "", "../turn", "/etc/hostname", ".."] {
            let secret = of(&format!("credential:{absent}"));
            assert!(secret.is_empty(), "{absent}");
            let shown = serde_json::to_string(&secret).unwrap();
            assert_eq!(shown, format!("\"{ABSENT}{absent}\""));
        }
        assert!(Secret::of("credential:turn".to_owned(), None).is_empty());
        assert_eq!(
            Secret::from("credential:turn".to_owned()).reveal(),
            "credential:turn"
        );
    }

    #[test]
    fn options_describe_themselves() {
        let described = TestOptions::describe();
        assert_eq!(TestOptions::about(), "Options of a test.");
        assert_eq!(
            described[0],
            OptionDescription {
                key: "wait",
                doc: "The longest wait, in seconds.\n\nZero: none.".to_owned(),
                default: Some("30".to_owned()),
            }
        );
        assert_eq!(described[1].default.as_deref(), Some("[]"));
        assert_eq!(described[2].default.as_deref(), Some("\"\""));
        assert_eq!(described[3].default, None);
    }

    #[test]
    fn keys_may_be_missing_but_not_unknown() {
        let options: TestOptions = toml::from_str("wait = 5\nsecret = 'hush'").unwrap();
        assert_eq!((options.wait, options.secret.reveal()), (5, "hush"));
        assert!(toml::from_str::<TestOptions>("weight = 5").is_err());
        assert!(!format!("{options:?}").contains("hush"));
        assert!(!toml::to_string(&options).unwrap().contains("hush"));
    }
}
