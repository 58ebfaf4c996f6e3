//! Paths inside the sandbox, which are never host paths: they do not convert to `std::path::Path`.

use super::escape::printable;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// Longest path in bytes: `PATH_MAX` of `linux/limits.h` without the final NUL.
const LONGEST_PATH: usize = 4095;
/// Longest component in bytes: `NAME_MAX` of `linux/limits.h`.
const LONGEST_COMPONENT: usize = 255;

/// An absolute path inside the sandbox: UTF-8, without NUL, `.`, `..` or empty components.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct GuestPath(String);

/// A path inside the sandbox relative to a directory: a file's name, or several components.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct GuestName(String);

/// What is wrong with a guest path or name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PathError {
    /// Nothing is there.
    #[error("an empty path inside the sandbox")]
    Empty,
    /// A path that does not start with `/`.
    #[error("path inside the sandbox `{}` is not absolute", .0.escape_debug())]
    NotAbsolute(String),
    /// A name that starts with `/`.
    #[error("name inside the sandbox `{}` is not relative", .0.escape_debug())]
    NotRelative(String),
    /// Two slashes in a row, or one at the end.
    #[error("path inside the sandbox `{}` has an empty component", .0.escape_debug())]
    EmptyComponent(String),
    /// `.` or `..` as a component.
    #[error("path inside the sandbox `{}` has the component `{component}`", path.escape_debug())]
    Dots {
        /// The whole path.
        path: String,
        /// `.` or `..`.
        component: &'static str,
    },
    /// A NUL byte.
    #[error("path inside the sandbox `{}` has a NUL byte", .0.escape_debug())]
    Nul(String),
    /// Bytes that are no UTF-8.
    #[error("path inside the sandbox `{}` is not UTF-8", .0.escape_debug())]
    NotUtf8(String),
    /// Longer than the kernel takes.
    #[error("a path inside the sandbox of {bytes} bytes is longer than {LONGEST_PATH}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A component longer than the kernel takes.
    #[error("a component of {bytes} bytes in a path inside the sandbox is longer than {LONGEST_COMPONENT}")]
    ComponentTooLong {
        /// The component's length.
        bytes: usize,
    },
}

impl GuestPath {
    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path of `name` below this one.
    ///
    /// # Errors
    /// If the two together are too long.
    pub fn join(&self, name: &GuestName) -> Result<GuestPath, PathError> {
        let separator = if self.0 == "/" { "" } else { "/" };
        [&self.0, separator, &name.0].concat().parse()
    }
}

impl GuestName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for GuestPath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<GuestPath, PathError> {
        whole(text)?;
        let Some(relative) = text.strip_prefix('/') else {
            return Err(PathError::NotAbsolute(text.to_owned()));
        };
        if !relative.is_empty() {
            components(text, relative)?;
        }
        Ok(GuestPath(text.to_owned()))
    }
}

impl FromStr for GuestName {
    type Err = PathError;

    fn from_str(text: &str) -> Result<GuestName, PathError> {
        whole(text)?;
        if text.starts_with('/') {
            return Err(PathError::NotRelative(text.to_owned()));
        }
        components(text, text)?;
        Ok(GuestName(text.to_owned()))
    }
}

impl TryFrom<String> for GuestPath {
    type Error = PathError;

    fn try_from(text: String) -> Result<GuestPath, PathError> {
        text.parse()
    }
}

impl TryFrom<String> for GuestName {
    type Error = PathError;

    fn try_from(text: String) -> Result<GuestName, PathError> {
        text.parse()
    }
}

impl From<GuestPath> for String {
    fn from(path: GuestPath) -> String {
        path.0
    }
}

impl From<GuestName> for String {
    fn from(name: GuestName) -> String {
        name.0
    }
}

impl TryFrom<&OsStr> for GuestPath {
    type Error = PathError;

    fn try_from(text: &OsStr) -> Result<GuestPath, PathError> {
        utf8(text)?.parse()
    }
}

impl TryFrom<&OsStr> for GuestName {
    type Error = PathError;

    fn try_from(text: &OsStr) -> Result<GuestName, PathError> {
        utf8(text)?.parse()
    }
}

impl fmt::Display for GuestPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(&self.0, formatter)
    }
}

impl fmt::Display for GuestName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(&self.0, formatter)
    }
}

fn show(text: &str, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    use fmt::Write;
    for character in text.chars() {
        if printable(character) {
            formatter.write_char(character)?;
        } else {
            write!(formatter, "{}", character.escape_default())?;
        }
    }
    Ok(())
}

fn utf8(text: &OsStr) -> Result<&str, PathError> {
    text.to_str().ok_or_else(|| PathError::NotUtf8(text.to_string_lossy().into_owned()))
}

fn whole(text: &str) -> Result<(), PathError> {
    if text.is_empty() {
        return Err(PathError::Empty);
    }
    if text.len() > LONGEST_PATH {
        return Err(PathError::TooLong { bytes: text.len() });
    }
    if text.contains('\0') {
        return Err(PathError::Nul(text.to_owned()));
    }
    Ok(())
}

fn components(path: &str, relative: &str) -> Result<(), PathError> {
    for component in relative.split('/') {
        let dots = |component| PathError::Dots { path: path.to_owned(), component };
        match component {
            "" => return Err(PathError::EmptyComponent(path.to_owned())),
            "." => return Err(dots(".")),
            ".." => return Err(dots("..")),
            long if long.len() > LONGEST_COMPONENT => {
                return Err(PathError::ComponentTooLong { bytes: long.len() });
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::ffi::OsStrExt;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_taken_stays_below(text in "[/.a-b\0\u{1b}é]{0,12}") {
            if let Ok(name) = name(&text) {
                let joined = path("/box").unwrap().join(&name).unwrap();
                let mut parts = joined.as_str().split('/');
                prop_assert_eq!((parts.next(), parts.next()), (Some(""), Some("box")));
                prop_assert!(parts.all(|part| !["", ".", ".."].contains(&part) && !part.contains('\0')));
                prop_assert!(name.to_string().chars().all(printable));
            }
        }
    }

    #[test]
    fn is_text_in_data() {
        assert_eq!(serde_json::to_value(path("/box/a").unwrap()).unwrap(), "/box/a");
        assert_eq!(serde_json::from_str::<GuestName>(r#""a/b""#).unwrap(), name("a/b").unwrap());
        let error = serde_json::from_str::<GuestPath>(r#""/a/..""#).unwrap_err().to_string();
        assert!(error.contains("has the component `..`"), "{error}");
        for schema in [schemars::schema_for!(GuestPath), schemars::schema_for!(GuestName)] {
            assert_eq!(schema.get("type").unwrap(), "string");
        }
    }

    fn path(text: &str) -> Result<GuestPath, PathError> {
        text.parse()
    }

    fn name(text: &str) -> Result<GuestName, PathError> {
        text.parse()
    }

    #[test]
    fn takes_normal_paths() {
        for text in ["/", "/box", "/box/a b/..c/.d", "/é"] {
            assert_eq!(path(text).unwrap().as_str(), text);
        }
        for text in ["a", "a/b", ".hidden", "...", "-"] {
            assert_eq!(name(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn says_what_is_wrong() {
        assert_eq!(path(""), Err(PathError::Empty));
        assert_eq!(path("box"), Err(PathError::NotAbsolute("box".into())));
        assert_eq!(name("/box"), Err(PathError::NotRelative("/box".into())));
        for text in ["//", "/a//b", "/a/"] {
            assert_eq!(path(text), Err(PathError::EmptyComponent(text.into())));
        }
        assert_eq!(path("/a/.."), Err(PathError::Dots { path: "/a/..".into(), component: ".." }));
        assert_eq!(name("./a"), Err(PathError::Dots { path: "./a".into(), component: "." }));
        assert_eq!(name("a\0b"), Err(PathError::Nul("a\0b".into())));
        let bytes = OsStr::from_bytes(b"\xff");
        assert!(matches!(GuestName::try_from(bytes), Err(PathError::NotUtf8(_))));
    }

    #[test]
    fn keeps_the_kernels_lengths() {
        assert!(name(&"a".repeat(255)).is_ok());
        assert_eq!(name(&"a".repeat(256)), Err(PathError::ComponentTooLong { bytes: 256 }));
        assert!(path(&"/a".repeat(2047)).is_ok());
        assert_eq!(path(&"/a".repeat(2048)), Err(PathError::TooLong { bytes: 4096 }));
    }

    #[test]
    fn joins_and_checks_the_whole() {
        let child = name("a/b").unwrap();
        assert_eq!(path("/").unwrap().join(&child).unwrap().as_str(), "/a/b");
        assert_eq!(path("/box").unwrap().join(&child).unwrap().as_str(), "/box/a/b");
        let long = path(&"/a".repeat(2047)).unwrap();
        assert_eq!(long.join(&child), Err(PathError::TooLong { bytes: 4098 }));
    }

    #[test]
    fn shows_no_control_characters() {
        assert_eq!(name("a\x1b[2J\n").unwrap().to_string(), "a\\u{1b}[2J\\n");
    }
}
