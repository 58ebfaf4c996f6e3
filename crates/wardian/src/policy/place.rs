//! Where a policy file says what: the line of a key, for errors about what its value means.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Keys that decide whether another is right, where the file leaves that other to the preset.
const DECIDING: [(&str, &[&str]); 4] = [
    ("limits.disk", &["limits.memory", "limits.inodes", "files.scratch"]),
    ("limits.output", &["limits.on_output"]),
    ("network", &["level"]),
    ("files.proc", &["require", "level"]),
];

/// The line, from 1 on, of `key`, or else of what decides about it; none where the file says none of them.
/// `index` is the element's of an array of tables.
pub(super) fn line(text: &str, key: &str, index: Option<usize>) -> Option<usize> {
    let table = DeTable::parse(text).ok()?;
    let deciding =
        DECIDING.into_iter().find(|(decided, _)| *decided == key).map_or(&[][..], |(_, keys)| keys);
    let start = std::iter::once(&key).chain(deciding).find_map(|key| start(table.get_ref(), key, index))?;
    Some(text.get(..start)?.matches('\n').count() + 1)
}

/// Where a dotted key begins, or the element of the array that is its value.
fn start(table: &DeTable<'_>, key: &str, index: Option<usize>) -> Option<usize> {
    let (first, rest) = key.split_once('.').map_or((key, None), |(first, rest)| (first, Some(rest)));
    let (name, value) = table.iter().find(|(name, _)| name.get_ref() == first)?;
    match (rest, value.get_ref(), index) {
        (Some(rest), DeValue::Table(inner), _) => start(inner, rest, index),
        (Some(_), ..) => None,
        (None, DeValue::Array(elements), Some(index)) => {
            elements.get(index).map(Spanned::span).map(|span| span.start)
        }
        (None, ..) => Some(name.span().start),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str =
        "name = 'x'\n[limits]\nmemory = '64M'\n\n[files]\nmounts = []\n[environment.set]\nA = 'b'\n";
    const MOUNTS: &str = "[[files.mounts]]\ndst = '/a'\n\n[[files.mounts]]\ndst = '/b'\n";

    #[test]
    fn keys_have_their_lines() {
        for (key, expected) in [
            ("name", Some(1)),
            ("limits.memory", Some(3)),
            ("files.mounts", Some(6)),
            ("environment.set", Some(7)),
            ("limits.wall", None),
            ("name.x", None),
        ] {
            assert_eq!(line(FILE, key, None), expected, "{key}");
        }
        assert_eq!(line("limits.wall = '0s'", "limits.wall", None), Some(1));
        assert_eq!(line("a = 1\r\nlimits = { wall = '0s' }", "limits.wall", None), Some(2));
    }

    #[test]
    fn what_the_file_leaves_to_the_preset_is_where_its_measure_is() {
        assert_eq!(line(FILE, "limits.disk", None), Some(3));
    }

    #[test]
    fn elements_have_theirs() {
        assert_eq!(
            (line(MOUNTS, "files.mounts", Some(0)), line(MOUNTS, "files.mounts", Some(1))),
            (Some(1), Some(4))
        );
        assert_eq!(line(MOUNTS, "files.mounts", Some(2)), None);
    }
}
