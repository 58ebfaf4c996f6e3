//! Reports as JSON that a terminal may be shown: what would move its cursor or its text is written `\uXXXX`.

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;
use std::io::{self, Write};
use wardian::files::is_printable;

pub(super) fn write(value: &impl Serialize, out: impl Write) -> io::Result<()> {
    value.serialize(&mut Serializer::with_formatter(out, Shown)).map_err(io::Error::from)
}

struct Shown;

impl Formatter for Shown {
    fn write_string_fragment<W: Write + ?Sized>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, character)) = rest.char_indices().find(|(_, character)| !is_printable(*character))
        {
            let (before, after) = rest.split_at(at);
            out.write_all(before.as_bytes())?;
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}")?;
            }
            rest = after.get(character.len_utf8()..).unwrap_or_default();
        }
        out.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_escaped_and_means_the_same() {
        let text = "a\u{9b}31m\u{7f}\u{202e}é\u{e0001}\n\"x\\";
        let mut json = Vec::new();
        write(&text, &mut json).unwrap();
        assert_eq!(
            String::from_utf8(json.clone()).unwrap(),
            r#""a\u009b31m\u007f\u202eé\udb40\udc01\n\"x\\""#
        );
        assert_eq!(serde_json::from_slice::<String>(&json).unwrap(), text);
    }
}
