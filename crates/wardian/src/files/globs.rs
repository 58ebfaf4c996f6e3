//! Patterns for the files to collect.
//!
//! A pattern is matched component by component, so that directories nothing can match in are never opened.

use globset::{GlobBuilder, GlobMatcher};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use thiserror::Error;

/// Positions in a pattern are bits of a `u64`, the end being one of them.
const MOST_COMPONENTS: usize = 63;
const MOST_PATTERNS: usize = 64;
const LONGEST_PATTERN: usize = 4095;
const WILDCARDS: &[char] = &['*', '?', '[', '{', '\\'];

/// Patterns relative to the directory that is collected: `*` and `?` stay within a component, a component `**` is
/// any number of directories, `[…]` and `{a,b}` are as in a shell. A hidden name matches only where the pattern's
/// component itself starts with `.`; `**` enters no hidden directory. A name without wildcards at the end is that file
/// or, if it is a directory, all files below it; with a `/` after it, only the latter.
#[derive(Clone, Debug)]
pub struct Globs(Vec<Glob>);

/// What is wrong with a pattern.
#[derive(Debug, Error)]
pub enum GlobError {
    /// It is empty, starts with `/`, or has a component `.`, `..` or none.
    #[error("pattern `{}` is not a path below the working directory", .0.escape_debug())]
    NotBelow(String),
    /// Its syntax.
    #[error("pattern `{}` is wrong: {source}", pattern.escape_debug())]
    Syntax {
        /// The pattern.
        pattern: String,
        /// What is wrong.
        #[source]
        source: globset::Error,
    },
    /// It is longer than a path can be.
    #[error(
        "a pattern of {bytes} bytes or {components} components is longer than {LONGEST_PATTERN} bytes or {MOST_COMPONENTS} components"
    )]
    TooLong {
        /// Its bytes.
        bytes: usize,
        /// Its components.
        components: usize,
    },
    /// Too many patterns.
    #[error("{0} patterns are more than {MOST_PATTERNS}")]
    TooMany(usize),
}

impl GlobError {
    /// What to do about it, if that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            GlobError::Syntax { pattern, .. } if pattern.contains('{') && pattern.contains('/') => {
                Some("`{…}` and `[…]` cannot contain `/`: give two patterns".into())
            }
            _ => None,
        }
    }
}

#[derive(Clone, Debug)]
struct Glob {
    text: String,
    components: Vec<Component>,
    /// Whether all files below what the whole pattern names match, too.
    below: bool,
}

#[derive(Clone, Debug)]
enum Component {
    Directories,
    Name { matcher: GlobMatcher, hidden: bool },
}

/// How far each pattern has matched a path: a set of positions, as bits.
#[derive(Clone, Debug)]
pub(super) struct Progress(Vec<u64>);

impl Globs {
    /// Compiles the patterns.
    ///
    /// # Errors
    /// Names the first that is wrong.
    pub fn new(patterns: &[String]) -> Result<Globs, GlobError> {
        if patterns.len() > MOST_PATTERNS {
            return Err(GlobError::TooMany(patterns.len()));
        }
        patterns.iter().map(|pattern| Glob::new(pattern)).collect::<Result<_, _>>().map(Globs)
    }

    /// Whether nothing can match.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The progress before any component.
    pub(super) fn start(&self) -> Progress {
        Progress(self.0.iter().map(|glob| glob.skip_empty(1)).collect())
    }

    /// The progress after one more component.
    pub(super) fn step(&self, from: &Progress, name: &[u8]) -> Progress {
        let steps = self.0.iter().zip(&from.0).map(|(glob, positions)| glob.step(*positions, name));
        Progress(steps.collect())
    }

    /// The patterns that have matched to their end, as bits.
    pub(super) fn matched(&self, progress: &Progress) -> u64 {
        let matched = self.0.iter().zip(&progress.0).map(|(glob, positions)| positions & glob.end() != 0);
        matched.enumerate().fold(0, |bits, (at, matched)| bits | u64::from(matched) << at)
    }

    /// Whether something below could match.
    pub(super) fn continues(&self, progress: &Progress) -> bool {
        let last = |glob: &Glob| if glob.below { 0 } else { glob.end() };
        self.0.iter().zip(&progress.0).any(|(glob, positions)| positions & !last(glob) != 0)
    }

    /// The patterns but those that are bits of `seen`.
    pub(super) fn others(&self, seen: u64) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .enumerate()
            .filter(move |(at, _)| seen & (1 << at) == 0)
            .map(|(_, glob)| glob.text.as_str())
    }
}

impl Glob {
    fn new(pattern: &str) -> Result<Glob, GlobError> {
        let mut components = Vec::new();
        let mut parts: Vec<&str> = pattern.split('/').collect();
        if let [_, .., last] = parts.as_mut_slice()
            && last.is_empty()
        {
            *last = "**";
        }
        // A final `**` becomes two components.
        if pattern.len() > LONGEST_PATTERN || parts.len() >= MOST_COMPONENTS {
            return Err(GlobError::TooLong { bytes: pattern.len(), components: parts.len() });
        }
        for part in &parts {
            match *part {
                "" | "." | ".." => return Err(GlobError::NotBelow(pattern.to_owned())),
                "**" => components.push(Component::Directories),
                part => components.push(Component::name(pattern, part)?),
            }
        }
        // All files below, but not the directory's own name.
        if matches!(components.last(), Some(Component::Directories)) {
            components.push(Component::name(pattern, "*")?);
        }
        let below = parts.last().is_some_and(|last| !last.contains(WILDCARDS));
        Ok(Glob { text: pattern.to_owned(), components, below })
    }

    fn end(&self) -> u64 {
        1 << self.components.len()
    }

    /// Adds the positions after each `**`, which may be no directory at all.
    fn skip_empty(&self, mut positions: u64) -> u64 {
        for (at, component) in self.components.iter().enumerate() {
            if positions & (1 << at) != 0 && matches!(component, Component::Directories) {
                positions |= 1 << (at + 1);
            }
        }
        positions
    }

    fn step(&self, positions: u64, name: &[u8]) -> u64 {
        let below = self.below && !name.starts_with(b".");
        let mut next = if below { positions & self.end() } else { 0 };
        for (at, component) in self.components.iter().enumerate().filter(|(at, _)| positions & (1 << at) != 0)
        {
            match component {
                Component::Directories if !name.starts_with(b".") => next |= 1 << at,
                Component::Name { matcher, hidden }
                    if (*hidden || !name.starts_with(b".")) && matcher.is_match(OsStr::from_bytes(name)) =>
                {
                    next |= 1 << (at + 1);
                }
                _ => {}
            }
        }
        self.skip_empty(next)
    }
}

impl Component {
    fn name(pattern: &str, part: &str) -> Result<Component, GlobError> {
        let glob = GlobBuilder::new(part).literal_separator(true).backslash_escape(true).build();
        let matcher = glob
            .map_err(|source| GlobError::Syntax { pattern: pattern.to_owned(), source })?
            .compile_matcher();
        Ok(Component::Name { matcher, hidden: part.starts_with('.') || part.starts_with("\\.") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn globs(patterns: &[&str]) -> Result<Globs, GlobError> {
        Globs::new(&patterns.iter().map(|&pattern| pattern.to_owned()).collect::<Vec<_>>())
    }

    fn matches(pattern: &str, path: &[u8]) -> bool {
        let globs = globs(&[pattern]).unwrap();
        let progress = path.split(|byte| *byte == b'/').fold(globs.start(), |at, name| globs.step(&at, name));
        globs.matched(&progress) != 0
    }

    #[test]
    fn matches_as_documented() {
        let yes: [(&str, &[u8]); 18] = [
            ("*", b"a"),
            ("*.png", b"\xff.png"),
            ("**", b"a/b/c"),
            ("**/*.png", b"a.png"),
            ("**/*.png", b"a/b/c.png"),
            ("a/**", b"a/b/c"),
            ("a/**/c", b"a/c"),
            ("a/**/**/c", b"a/b/c"),
            ("{a,b}.txt", b"b.txt"),
            ("[ab]/?", b"b/x"),
            (".*", b".hidden"),
            (".cache/*", b".cache/x"),
            ("**/.x", b"a/.x"),
            ("a\\*", b"a*"),
            ("a/b", b"a/b"),
            ("a/b", b"a/b/c/d"),
            ("a/", b"a/b"),
            (".git", b".git/config"),
        ];
        for (pattern, path) in yes {
            assert!(matches(pattern, path), "{pattern} {}", path.escape_ascii());
        }
        let no: [(&str, &[u8]); 13] = [
            ("*", b"a/b"),
            ("*", b".hidden"),
            ("**", b".git/config"),
            ("**", b"a/.git/config"),
            ("[.]x", b".x"),
            ("a/**", b"a"),
            ("a/**", b"b/a"),
            ("a\\*", b"ab"),
            ("*.PNG", b"a.png"),
            ("a/", b"a"),
            ("a?", b"ab/c"),
            ("a", b"a/.b/c"),
            ("a", b"ab"),
        ];
        for (pattern, path) in no {
            assert!(!matches(pattern, path), "{pattern} {}", path.escape_ascii());
        }
    }

    #[test]
    fn enters_only_where_something_can_match() {
        let globs = globs(&["a/*.png", "b.?"]).unwrap();
        let after = |name: &[u8]| globs.step(&globs.start(), name);
        assert!(globs.continues(&after(b"a")) && globs.matched(&after(b"a")) == 0);
        assert!(!globs.continues(&after(b"b.x")) && globs.matched(&after(b"b.x")) == 2);
        assert!(!globs.continues(&after(b"c")));
    }

    #[test]
    fn names_a_wrong_pattern() {
        for pattern in ["", "/", "/etc/*", "a//", "../*", "a/./b", "a//b"] {
            assert!(
                matches!(globs(&["ok", pattern]), Err(GlobError::NotBelow(named)) if named == pattern),
                "{pattern}"
            );
        }
        for wrong in ["[a", "{a", "{a/b,c}", "a\\"] {
            let error = globs(&[wrong]).unwrap_err();
            assert!(error.to_string().starts_with(&format!("pattern `{}` is wrong", wrong.escape_debug())));
        }
    }

    #[test]
    fn bounds_patterns() {
        assert!(globs(&[&("**/".repeat(61) + "a")]).is_ok());
        assert!(matches!(
            globs(&[&("a/".repeat(62) + "**")]),
            Err(GlobError::TooLong { components: 63, .. })
        ));
        assert!(matches!(globs(&["a"; 65]), Err(GlobError::TooMany(65))));
    }
}
