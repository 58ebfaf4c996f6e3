//! The payload: JSON as Python writes it, of one shape.
//!
//! It is checked but not taken in: values are kept as the text that came, so that numbers of any size, `NaN` and lone
//! surrogates mean to the guest's Python what they meant to the sender's.

use super::{LIBRARY, refused};
use crate::json::{Json, string_length};
use crate::problem::Problem;
use serde::de::IgnoredAny;

/// What there may be in a payload.
const FIELDS: [&str; 6] =
    ["code", "globals_dict", "python_path", "limit_overrides_context", "slug", "unsafely"];

/// Checks a payload and the names of the files that came with it; answers the globals' own text, since what fails gives
/// them back.
pub(super) fn check<'a>(text: &str, files: impl Iterator<Item = &'a str>) -> Result<String, Problem> {
    let plain = without_special_numbers(text);
    let unreadable = |error: serde_json::Error| {
        refused(format!("Unable to parse payload JSON: {}", in_python_s_words(&error, &plain)))
    };
    serde_json::from_str::<IgnoredAny>(&plain).map_err(unreadable)?;
    let payload = Json::sound(&plain);
    if !payload.is_object() {
        return Err(mismatch("$", "it is not of type 'object'"));
    }
    let payload = payload.pick(&FIELDS);
    for required in ["code", "globals_dict"] {
        if payload.get(required).is_none() {
            return Err(mismatch("$", &format!("'{required}' is a required property")));
        }
    }
    let of_type = |key: &str, kind: &str, fits: fn(Json<'_>) -> bool| match payload.get(key) {
        Some(value) if !fits(value) => Err(mismatch(&format!("$.{key}"), &format!("it is not {kind}"))),
        _ => Ok(()),
    };
    of_type("code", "of type 'string'", |value| value.is_string())?;
    of_type("globals_dict", "of type 'object'", |value| value.is_object())?;
    of_type("python_path", "an array of strings, or null", |value| {
        value.is_null() || value.is_array() && value.items().all(Json::is_string)
    })?;
    for key in ["limit_overrides_context", "slug"] {
        of_type(key, "of type 'string', or null", |value| value.is_null() || value.is_string())?;
    }
    of_type("unsafely", "of type 'boolean'", |value| matches!(value.text(), "true" | "false"))?;
    if payload.get("python_path").into_iter().flat_map(Json::items).any(|entry| !entry.says(LIBRARY)) {
        return Err(refused(format!("Only allowed entry in 'python_path' is '{LIBRARY}'")));
    }
    if files.into_iter().any(|name| name != LIBRARY) {
        return Err(refused(format!("Only allowed name for uploaded file is '{LIBRARY}'")));
    }
    if payload.get("unsafely").is_some_and(|value| value.text() == "true") {
        return Err(refused("Refusing codejail execution with unsafely=true"));
    }
    Ok(payload.get("globals_dict").map(|value| as_it_came(value.text(), &plain, text)).unwrap_or_default())
}

/// What is wrong with JSON, where and mostly as Python says it.
fn in_python_s_words(error: &serde_json::Error, text: &str) -> String {
    let (line, column) = (error.line(), error.column());
    let full = error.to_string();
    let what = full.split_once(" at line ").map_or(full.as_str(), |(what, _)| what);
    // What is missing at the end is missing after the last character.
    let column = if error.is_eof() { column + 1 } else { column.max(1) };
    let what = match what {
        "expected value" | "expected ident" | "EOF while parsing a value" => "Expecting value",
        "trailing characters" => "Extra data",
        "key must be a string" => "Expecting property name enclosed in double quotes",
        "expected `:`" => "Expecting ':' delimiter",
        "expected `,` or `}`" | "expected `,` or `]`" => "Expecting ',' delimiter",
        other => other,
    };
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let characters = |bytes: usize| text.char_indices().take_while(|(at, _)| *at < bytes).count();
    let at = characters(start + column - 1);
    format!("{what}: line {line} column {} (char {at})", at - characters(start) + 1)
}

fn mismatch(path: &str, message: &str) -> Problem {
    refused(format!("Payload JSON did not match schema at path {path}: {message}"))
}

fn is_object(json: &str) -> bool {
    json.trim_start().starts_with('{')
}

/// Whether the text is an object in JSON as Python writes it.
pub(super) fn is_an_object(text: &str) -> bool {
    let plain = without_special_numbers(text);
    is_object(&plain) && serde_json::from_str::<IgnoredAny>(&plain).is_ok()
}

/// The part of `text` that `part` of `plain` stands for.
fn as_it_came(part: &str, plain: &str, text: &str) -> String {
    let start = part.as_ptr().addr().saturating_sub(plain.as_ptr().addr());
    text.get(start..start + part.len()).unwrap_or(part).to_owned()
}

/// The same text, of the same length, with 0 for `NaN`, `Infinity` and `-Infinity`, which JSON does not have.
fn without_special_numbers(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['"', 'N', 'I', '-']) {
        let (before, special) = rest.split_at(at);
        plain.push_str(before);
        let number = ["NaN", "Infinity", "-Infinity"].iter().find(|number| special.starts_with(**number));
        let taken = match number {
            Some(number) => {
                // Between spaces, so that it joins no digits beside it.
                plain.push_str(" 0");
                plain.extend(std::iter::repeat_n(' ', number.len() - 2));
                number.len()
            }
            None => {
                let taken = if special.starts_with('"') { string_length(special) } else { 1 };
                plain.push_str(special.get(..taken).unwrap_or(special));
                taken
            }
        };
        rest = special.get(taken..).unwrap_or_default();
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_python_writes() {
        for globals in [
            "{}",
            r#"{"a": [NaN, -Infinity, Infinity, -1], "NaN \" I": "-Infinity\\", "é": "N"}"#,
            r#"{"huge": 1e999, "s": "\ud800", "\udc00": 1}"#,
        ] {
            assert!(is_an_object(globals), "{globals}");
            let payload =
                format!(r#"{{"globals_dict": 1, "x": "é", "globals_dict": {globals}, "code": "\ud800"}}"#);
            assert_eq!(check(&payload, std::iter::empty()).unwrap(), globals);
        }
        let deep = format!("{{\"a\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(is_an_object(&deep));
        for (json, words) in [
            ("Not JSON", "Expecting value: line 1 column 1 (char 0)"),
            ("", "Expecting value: line 1 column 1 (char 0)"),
            ("{}\n x", "Extra data: line 2 column 2 (char 4)"),
            ("{1", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
            ("[\"é\" 1", "Expecting ',' delimiter: line 1 column 6 (char 5)"),
        ] {
            let problem = check(json, std::iter::empty()).unwrap_err();
            assert_eq!(problem.detail, format!("Unable to parse payload JSON: {words}"));
        }
        for wrong in
            ["nan", "N", "[NaNNaN]", "1NaN", "NaN1", "1-Infinity", "-NaN", "[", "\"", "\"\\", "-", "1} {"]
        {
            assert!(!is_an_object(&format!("{{\"a\": {wrong}}}")), "{wrong}");
        }
        for wrong in ["", "1", "[]", "{", "{} {}", "NaN"] {
            assert!(!is_an_object(wrong), "{wrong}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (payload, words) in [
            ("Not JSON", "Unable to parse payload JSON: "),
            ("[]", "schema at path $: it is not of type 'object'"),
            ("{}", "schema at path $: 'code' is a required property"),
            (r#"{"code": ""}"#, "schema at path $: 'globals_dict' is a required property"),
            (r#"{"code": 1, "globals_dict": {}}"#, "schema at path $.code: "),
            (r#"{"code": "", "globals_dict": []}"#, "schema at path $.globals_dict: "),
            (r#"{"code": "", "globals_dict": {}, "python_path": "x"}"#, "schema at path $.python_path: "),
            (r#"{"code": "", "globals_dict": {}, "slug": 1}"#, "schema at path $.slug: "),
            (r#"{"code": "", "globals_dict": {}, "unsafely": 1}"#, "schema at path $.unsafely: "),
            (
                r#"{"code": "", "globals_dict": {}, "python_path": ["/etc"]}"#,
                "Only allowed entry in 'python_path' is 'python_lib.zip'",
            ),
            (
                r#"{"code": "", "globals_dict": {}, "unsafely": true}"#,
                "Refusing codejail execution with unsafely=true",
            ),
        ] {
            let problem = check(payload, std::iter::empty()).unwrap_err();
            assert_eq!(problem.status.as_u16(), 400, "{payload}");
            assert!(problem.detail.contains(words), "{payload}: {}", problem.detail);
        }
        let right = r#"{"code": "", "globals_dict": {"a": 1}, "python_path": null, "slug": null}"#;
        assert_eq!(check(right, ["python_lib.zip"].into_iter()).unwrap(), "{\"a\": 1}");
        assert!(check(right, ["../x"].into_iter()).unwrap_err().detail.contains("uploaded file"));
    }
}
