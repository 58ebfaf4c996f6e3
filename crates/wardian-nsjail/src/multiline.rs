//! Strings over several lines, which protobuf's own reader for C++ accepts in text format, and so nsjail does.

use std::borrow::Cow;

/// The same text with `\n` for each line break inside a string, and where in it bytes were added.
pub(crate) fn escaped(text: &str) -> (Cow<'_, str>, Vec<usize>) {
    let (mut out, mut added) = (String::new(), Vec::new());
    let mut copied = 0;
    let mut quote = None;
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match (quote, byte) {
            (Some(_), b'\\') => drop(bytes.next()),
            (Some(_), b'\n') => {
                out += text.get(copied..at).unwrap_or_default();
                added.push(out.len());
                out += "\\n";
                copied = at + 1;
            }
            (Some(open), byte) if byte == open => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'#') => drop(bytes.by_ref().find(|(_, byte)| *byte == b'\n')),
            (None, _) => {}
        }
    }
    if added.is_empty() {
        return (Cow::Borrowed(text), added);
    }
    out += text.get(copied..).unwrap_or_default();
    (Cow::Owned(out), added)
}

#[cfg(test)]
mod tests {
    use super::escaped;
    use crate::parse;

    #[test]
    fn only_line_breaks_in_strings_are_replaced() {
        for (text, expected) in [
            ("a: 'x'\nb: 1\n", "a: 'x'\nb: 1\n"),
            ("a: 'x\ny\n'\nb: 1", "a: 'x\\ny\\n'\nb: 1"),
            ("# it's\na: \"'\n\"", "# it's\na: \"'\\n\""),
            ("a: \"\\\"\n\"", "a: \"\\\"\\n\""),
        ] {
            assert_eq!(escaped(text).0, expected);
        }
    }

    #[test]
    fn a_description_may_have_lines_and_errors_keep_theirs() {
        let config = parse("description: 'one\ntwo'\nname: \"a\n\nb\"").unwrap();
        assert_eq!((config.description.as_slice(), config.name()), (&["one\ntwo".to_owned()][..], "a\n\nb"));
        let error = parse("description: 'one\ntwo\n'\nname: 'x' nonsense: 1\n").unwrap_err().to_string();
        assert!(error.contains("line 4, column 11"), "{error}");
    }
}
