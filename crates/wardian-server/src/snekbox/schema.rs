//! snekbox's check of a request, with the words of the Python library it uses for that.

use crate::json::Json;
use std::fmt::Write;

/// The first mistake of those that are least deep in the request: it is what is told.
#[derive(Default)]
struct Mistakes(Option<(usize, String)>);

impl Mistakes {
    fn add(&mut self, depth: usize, text: impl FnOnce() -> String) {
        if self.0.as_ref().is_none_or(|(least, _)| depth < *least) {
            self.0 = Some((depth, text()));
        }
    }
}

/// What there may be in a request.
pub(super) const FIELDS: [&str; 4] = ["args", "input", "files", "executable_path"];

/// What is wrong with a request, if anything is.
pub(super) fn check(request: Json<'_>) -> Result<(), String> {
    if !request.is_object() {
        return Err(wrong_type(request, "object"));
    }
    let given = request.pick(&FIELDS);
    let [args, input, files, executable] = FIELDS.map(|key| given.get(key));
    let mut mistakes = Mistakes::default();
    if input.is_none() && args.is_none() {
        mistakes.add(0, || format!("{} is not valid under any of the given schemas", repr(request)));
    }
    each(args, 1, &mut mistakes, string);
    input.into_iter().for_each(|value| string(value, 1, &mut mistakes));
    each(files, 1, &mut mistakes, file);
    executable.into_iter().for_each(|value| string(value, 1, &mut mistakes));
    mistakes.0.map_or(Ok(()), |(_, text)| Err(text))
}

fn wrong_type(value: Json<'_>, wanted: &str) -> String {
    format!("{} is not of type '{wanted}'", repr(value))
}

fn string(value: Json<'_>, depth: usize, mistakes: &mut Mistakes) {
    if !value.is_string() {
        mistakes.add(depth, || wrong_type(value, "string"));
    }
}

fn each(
    value: Option<Json<'_>>,
    depth: usize,
    mistakes: &mut Mistakes,
    check: fn(Json<'_>, usize, &mut Mistakes),
) {
    match value {
        Some(items) if items.is_array() => items.items().for_each(|item| check(item, depth + 1, mistakes)),
        Some(value) => mistakes.add(depth, || wrong_type(value, "array")),
        None => {}
    }
}

fn file(value: Json<'_>, depth: usize, mistakes: &mut Mistakes) {
    if !value.is_object() {
        return mistakes.add(depth, || wrong_type(value, "object"));
    }
    match value.get("path") {
        None => mistakes.add(depth, || "'path' is a required property".into()),
        Some(path) => {
            string(path, depth + 1, mistakes);
            if path.string().is_some_and(|text| !fits(&text)) {
                mistakes
                    .add(depth + 1, || format!("{} does not match '^(?!/)(?!.*\\\\\\\\0).*$'", repr(path)));
            }
        }
    }
    if let Some(content) = value.get("content") {
        string(content, depth + 1, mistakes);
    }
}

/// Whether the pattern matches, in which `.` is anything but the end of a line.
fn fits(path: &str) -> bool {
    let line = path.strip_suffix('\n').unwrap_or(path);
    !path.starts_with('/') && !line.contains('\n') && !line.contains("\\0")
}

/// A value as Python shows it; a long one is cut.
pub(super) fn repr(value: Json<'_>) -> String {
    const MOST: usize = 10_000;
    let mut text = String::new();
    for token in value.tokens() {
        if text.len() > MOST {
            break;
        }
        match (token.text(), token.string()) {
            (_, Some(string)) => write_string(&string, &mut text, MOST),
            ("null", _) => text.push_str("None"),
            ("true", _) => text.push_str("True"),
            ("false", _) => text.push_str("False"),
            (",", _) => text.push_str(", "),
            (":", _) => text.push_str(": "),
            (other, _) => text.push_str(other),
        }
    }
    if text.len() > MOST {
        let end = text.floor_char_boundary(MOST);
        text.truncate(end);
        text.push('…');
    }
    text
}

fn write_string(string: &str, text: &mut String, most: usize) {
    let quote = if string.contains('\'') && !string.contains('"') { '"' } else { '\'' };
    text.push(quote);
    for c in string.chars() {
        if text.len() > most {
            break;
        }
        match c {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            c if c == quote => text.extend(['\\', c]),
            c if c.is_control() && u32::from(c) < 0x100 => drop(write!(text, "\\x{:02x}", u32::from(c))),
            c => text.push(c),
        }
    }
    text.push(quote);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn checked(request: &Value) -> Result<(), String> {
        check(Json::read(request.to_string().as_bytes()).unwrap())
    }

    #[test]
    fn mistakes_are_told_in_its_words() {
        for (request, words) in [
            (json!({"stuff": "foo"}), "{'stuff': 'foo'} is not valid under any of the given schemas"),
            (json!({"args": 400}), "400 is not of type 'array'"),
            (json!({"args": [], "files": [215]}), "215 is not of type 'object'"),
            (json!({"input": null}), "None is not of type 'string'"),
            (json!({"args": [true]}), "True is not of type 'string'"),
            (json!([1]), "[1] is not of type 'object'"),
            (json!({"args": [], "files": [{}]}), "'path' is a required property"),
            (
                json!({"args": [], "files": [{"path": "/etc"}]}),
                r"'/etc' does not match '^(?!/)(?!.*\\\\0).*$'",
            ),
        ] {
            assert_eq!(checked(&request).unwrap_err(), words);
        }
        for request in [
            json!({"input": "", "other": 1}),
            json!({"args": ["a"], "files": [{"path": "a/../b", "content": "", "x": 1}], "executable_path": "x"}),
        ] {
            assert_eq!(checked(&request), Ok(()));
        }
    }

    #[test]
    fn strings_are_shown_as_python_shows_them() {
        for (string, shown) in
            [("a", "'a'"), ("it's", "\"it's\""), ("'\"", "'\\'\"'"), ("\u{1}\n", "'\\x01\\n'")]
        {
            let json = Value::String(string.into()).to_string();
            assert_eq!(repr(Json::read(json.as_bytes()).unwrap()), shown);
        }
    }
}
