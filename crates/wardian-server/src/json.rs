//! JSON that is looked at where it lies. Clients of other systems may say anything beside what we know; a tree of all
//! that is in a body takes many times the memory that the body was given. Here only what is asked for is copied.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// A value: its own part of the text, which is sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Json<'a>(&'a str);

impl<'a> Json<'a> {
    /// The value that is all of the text.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Json<'a>, serde_json::Error> {
        serde_json::from_slice::<Sound>(bytes)?;
        // Sound JSON is UTF-8, in strings and between them.
        Ok(Json(std::str::from_utf8(bytes).unwrap_or_default().trim()))
    }

    /// The value of a text that is JSON for sure.
    pub(crate) fn sound(text: &'a str) -> Json<'a> {
        Json(text.trim())
    }

    /// What an object has under a name; of two the last.
    pub(crate) fn get(self, name: &str) -> Option<Json<'a>> {
        self.entries().filter(|(key, _)| key.says(name)).last().map(|(_, value)| value)
    }

    /// What an object has under these names.
    pub(crate) fn pick(self, names: &[&'static str]) -> Picked<'a> {
        let mut picked = Picked(Vec::new());
        for (key, value) in self.entries() {
            let said = key.said();
            if let Some(name) = names.iter().copied().find(|name| said.as_deref() == Some(*name)) {
                picked.0.retain(|(known, _)| *known != name);
                picked.0.push((name, value));
            }
        }
        picked
    }

    /// The names and values of an object.
    fn entries(self) -> impl Iterator<Item = (Json<'a>, Json<'a>)> {
        let mut rest = if self.is_object() { inside(self.0) } else { "" };
        std::iter::from_fn(move || {
            let (key, after) = value(rest)?;
            let (value, after) = value(after)?;
            rest = after;
            Some((key, value))
        })
    }

    /// The items of an array.
    pub(crate) fn items(self) -> impl Iterator<Item = Json<'a>> {
        let mut rest = if self.is_array() { inside(self.0) } else { "" };
        std::iter::from_fn(move || {
            let (item, after) = value(rest)?;
            rest = after;
            Some(item)
        })
    }

    /// What it says, if it is a string.
    pub(crate) fn string(self) -> Option<String> {
        self.is_string().then(|| serde_json::from_str(self.0).unwrap_or_default())
    }

    /// Whether it is that string.
    pub(crate) fn says(self, text: &str) -> bool {
        self.said().as_deref() == Some(text)
    }

    /// What it says, if it is a string, where it lies if it can be had there.
    fn said(self) -> Option<Cow<'a, str>> {
        let plain = self.0.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        match plain.filter(|plain| !plain.contains('\\')) {
            Some(plain) => Some(Cow::Borrowed(plain)),
            None => self.string().map(Cow::Owned),
        }
    }

    pub(crate) fn number(self) -> Option<f64> {
        self.0.starts_with(|c: char| c == '-' || c.is_ascii_digit()).then(|| self.0.parse().ok())?
    }

    pub(crate) fn is_string(self) -> bool {
        self.0.starts_with('"')
    }

    pub(crate) fn is_array(self) -> bool {
        self.0.starts_with('[')
    }

    pub(crate) fn is_object(self) -> bool {
        self.0.starts_with('{')
    }

    pub(crate) fn is_null(self) -> bool {
        self.0 == "null"
    }

    pub(crate) fn is_false(self) -> bool {
        self.0 == "false"
    }

    /// Its strings, words, numbers, brackets, commas and colons.
    pub(crate) fn tokens(self) -> impl Iterator<Item = Json<'a>> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (token, after) = token(rest)?;
            rest = after;
            Some(Json(token))
        })
    }

    /// As it was written.
    pub(crate) fn text(self) -> &'a str {
        self.0
    }
}

/// What an object has under some names, found in one pass: there may be much beside it.
pub(crate) struct Picked<'a>(Vec<(&'static str, Json<'a>)>);

impl<'a> Picked<'a> {
    /// What it has under one of them; of two the last.
    pub(crate) fn get(&self, name: &str) -> Option<Json<'a>> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }
}

/// What is between two brackets.
fn inside(text: &str) -> &str {
    text.get(1..text.len() - 1).unwrap_or_default()
}

/// The value that a text begins with, and what comes after the comma or colon behind it.
fn value(text: &str) -> Option<(Json<'_>, &str)> {
    let start = text.trim_start();
    let (mut rest, mut depth) = (start, 0_usize);
    while let Some((token, after)) = token(rest) {
        match token {
            "[" | "{" => depth += 1,
            "]" | "}" => depth = depth.saturating_sub(1),
            "," | ":" if depth == 0 => return Some((part(start, rest), after)),
            _ => {}
        }
        rest = after;
    }
    (!start.is_empty()).then(|| (part(start, rest), rest))
}

/// `whole` without its end `rest`.
fn part<'a>(whole: &'a str, rest: &str) -> Json<'a> {
    Json(whole.get(..whole.len() - rest.len()).unwrap_or_default().trim_end())
}

/// The token that a text begins with, and what comes after it.
fn token(text: &str) -> Option<(&str, &str)> {
    const ENDS: [char; 10] = ['[', ']', '{', '}', ',', ':', ' ', '\t', '\n', '\r'];
    let text = text.trim_start();
    let length = match text.bytes().next()? {
        b'"' => string_length(text),
        b'[' | b']' | b'{' | b'}' | b',' | b':' => 1,
        _ => text.find(ENDS).unwrap_or(text.len()),
    };
    text.split_at_checked(length)
}

/// Bytes of the string at the beginning, with its quotation marks; to the end if it does not end.
pub(crate) fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Any value that can be read, of which nothing is kept. `IgnoredAny` would let through strings that are none.
struct Sound;

impl<'de> Deserialize<'de> for Sound {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Sound, D::Error> {
        deserializer.deserialize_any(Sound)
    }
}

impl<'de> Visitor<'de> for Sound {
    type Value = Sound;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any valid JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_str<E>(self, _: &str) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_unit<E>(self) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Sound, A::Error> {
        while items.next_element::<Sound>()?.is_some() {}
        Ok(Sound)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Sound, A::Error> {
        while entries.next_entry::<Sound, Sound>()?.is_some() {}
        Ok(Sound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// The same value, put together from what can be seen of it.
    fn rebuilt(json: Json<'_>) -> Value {
        if json.is_object() {
            let entries = json.entries();
            return Value::Object(
                entries.map(|(key, value)| (key.string().unwrap(), rebuilt(value))).collect(),
            );
        }
        if json.is_array() {
            return json.items().map(rebuilt).collect();
        }
        match json.string() {
            Some(text) => text.into(),
            None => serde_json::from_str(json.text()).unwrap(),
        }
    }

    #[test]
    fn what_is_seen_is_what_a_tree_would_have() {
        for text in [
            "null",
            " [ ] ",
            "{}",
            "[1,-2.5e3,true , false,null]",
            r#"{"a" : [ {"b":"]}\",:\\"} , [[]] ] ,"\u0061":"é\n", "":{"x": "" }}"#,
            r#""\ud83d\ude00[""#,
        ] {
            let tree: Value = serde_json::from_str(text).unwrap();
            assert_eq!(rebuilt(Json::read(text.as_bytes()).unwrap()), tree, "{text}");
        }
    }

    #[test]
    fn what_no_tree_could_be_made_of_is_not_read() {
        let deep = "[".repeat(200) + &"]".repeat(200);
        for text in ["", "{", "[1,]", "{} x", r#"{"a":"\ud800"}"#, "1e999", "nul", deep.as_str()] {
            let of_tree = serde_json::from_str::<Value>(text).unwrap_err().to_string();
            assert_eq!(Json::read(text.as_bytes()).unwrap_err().to_string(), of_tree, "{text}");
        }
        assert!(Json::read(b"\"\xff\"").is_err());
    }

    #[test]
    fn whatever_becomes_of_a_text_both_read_the_same() {
        let text = br#" {"a":[{"b":"]},:\\\"\u00e9"},[[]],-1.5e3,true],"":{"x":null,"y":"[{"}} "#;
        let bytes = b"[]{},:\"\\ \nntu0-.eE\xc3\xa9";
        let mut state = 1_u64;
        let mut below = |most: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from(state >> 33).unwrap() % most
        };
        for _ in 0..50_000 {
            let mut text = text.to_vec();
            for _ in 0..=below(3) {
                let at = below(text.len());
                match below(3) {
                    0 => drop(text.remove(at)),
                    1 => text.insert(at, bytes[below(bytes.len())]),
                    _ => text[at] = bytes[below(bytes.len())],
                }
            }
            let shown = String::from_utf8_lossy(&text);
            match (serde_json::from_slice::<Value>(&text), Json::read(&text)) {
                (Ok(tree), Ok(json)) => assert_eq!(rebuilt(json), tree, "{shown}"),
                (Err(_), Err(_)) => {}
                (tree, json) => panic!("{shown}: {tree:?}, {json:?}"),
            }
        }
    }

    #[test]
    fn names_may_be_written_with_escapes_and_the_last_counts() {
        let text = r#"{"a": 1, "\u0061": 2.5, "b": "a"}"#;
        let json = Json::read(text.as_bytes()).unwrap();
        assert_eq!(json.get("a").and_then(Json::number), Some(2.5));
        assert!(json.get("b").is_some_and(|value| value.says("a")));
        assert_eq!(json.get("c"), None);
        let picked = json.pick(&["c", "a"]);
        assert_eq!(["a", "b", "c"].map(|name| picked.get(name)), [json.get("a"), None, None]);
        assert_eq!(json!(2.5), rebuilt(json.get("a").unwrap()));
    }
}
