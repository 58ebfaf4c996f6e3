//! snekbox's check of a request, with the words of the Python library it uses for that.

use serde_json::Value;
use std::fmt::Write;

/// A mistake, and how deep in the request it is: the shallowest is told.
struct Mistake {
    depth: usize,
    text: String,
}

/// What is wrong with a request, if anything is.
pub(super) fn check(request: &Value) -> Result<(), String> {
    let Value::Object(object) = request else {
        return Err(wrong_type(request, "object"));
    };
    let mut mistakes = Vec::new();
    if !object.contains_key("input") && !object.contains_key("args") {
        let text = format!("{} is not valid under any of the given schemas", repr(request));
        mistakes.push(Mistake { depth: 0, text });
    }
    for (key, value) in object {
        match key.as_str() {
            "input" | "executable_path" => string(value, 1, &mut mistakes),
            "args" => each(value, 1, &mut mistakes, string),
            "files" => each(value, 1, &mut mistakes, file),
            _ => {}
        }
    }
    match mistakes.into_iter().min_by_key(|mistake| mistake.depth) {
        Some(mistake) => Err(mistake.text),
        None => Ok(()),
    }
}

fn wrong_type(value: &Value, wanted: &str) -> String {
    format!("{} is not of type '{wanted}'", repr(value))
}

fn string(value: &Value, depth: usize, mistakes: &mut Vec<Mistake>) {
    if !value.is_string() {
        mistakes.push(Mistake { depth, text: wrong_type(value, "string") });
    }
}

fn each(
    value: &Value,
    depth: usize,
    mistakes: &mut Vec<Mistake>,
    check: fn(&Value, usize, &mut Vec<Mistake>),
) {
    match value.as_array() {
        Some(items) => items.iter().for_each(|item| check(item, depth + 1, mistakes)),
        None => mistakes.push(Mistake { depth, text: wrong_type(value, "array") }),
    }
}

fn file(value: &Value, depth: usize, mistakes: &mut Vec<Mistake>) {
    let Value::Object(object) = value else {
        mistakes.push(Mistake { depth, text: wrong_type(value, "object") });
        return;
    };
    match object.get("path") {
        None => mistakes.push(Mistake { depth, text: "'path' is a required property".into() }),
        Some(path) => {
            string(path, depth + 1, mistakes);
            if let Some(text) = path.as_str()
                && !fits(text)
            {
                let text = format!("{} does not match '^(?!/)(?!.*\\\\\\\\0).*$'", repr(path));
                mistakes.push(Mistake { depth: depth + 1, text });
            }
        }
    }
    if let Some(content) = object.get("content") {
        string(content, depth + 1, mistakes);
    }
}

/// Whether the pattern matches, in which `.` is anything but the end of a line.
fn fits(path: &str) -> bool {
    let line = path.strip_suffix('\n').unwrap_or(path);
    !path.starts_with('/') && !line.contains('\n') && !line.contains("\\0")
}

/// A value as Python shows it; a long one is cut.
pub(super) fn repr(value: &Value) -> String {
    const MOST: usize = 10_000;
    let mut text = String::new();
    write_repr(value, &mut text, MOST);
    if text.len() > MOST {
        let end = text.floor_char_boundary(MOST);
        text.truncate(end);
        text.push('…');
    }
    text
}

fn write_repr(value: &Value, text: &mut String, most: usize) {
    if text.len() > most {
        return;
    }
    match value {
        Value::Null => text.push_str("None"),
        Value::Bool(true) => text.push_str("True"),
        Value::Bool(false) => text.push_str("False"),
        Value::Number(number) => drop(write!(text, "{number}")),
        Value::String(string) => write_string(string, text, most),
        Value::Array(items) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                text.push_str(if at > 0 { ", " } else { "" });
                write_repr(item, text, most);
            }
            text.push(']');
        }
        Value::Object(object) => {
            text.push('{');
            for (at, (key, item)) in object.iter().enumerate() {
                text.push_str(if at > 0 { ", " } else { "" });
                write_string(key, text, most);
                text.push_str(": ");
                write_repr(item, text, most);
            }
            text.push('}');
        }
    }
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
    use serde_json::json;

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
            assert_eq!(check(&request).unwrap_err(), words);
        }
        for request in [
            json!({"input": "", "other": 1}),
            json!({"args": ["a"], "files": [{"path": "a/../b", "content": "", "x": 1}], "executable_path": "x"}),
        ] {
            assert_eq!(check(&request), Ok(()));
        }
    }

    #[test]
    fn strings_are_shown_as_python_shows_them() {
        for (string, shown) in
            [("a", "'a'"), ("it's", "\"it's\""), ("'\"", "'\\'\"'"), ("\u{1}\n", "'\\x01\\n'")]
        {
            assert_eq!(repr(&Value::String(string.into())), shown);
        }
    }
}
