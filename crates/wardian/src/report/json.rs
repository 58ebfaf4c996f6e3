//! A guest's result: bounded JSON that is checked, carried as it was written, on one line, and interpreted by nobody here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Brackets within brackets: readers that recurse have this much to expect.
const DEPTH: usize = 128;

/// One JSON value as its own text: what it says is not converted on the way, so that whole numbers of any size stay
/// what they are, and nothing takes more memory than its text.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Json(Box<RawValue>);

/// Why there is no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResultMissing {
    /// Nothing was written.
    NotWritten,
    /// More was written than the channel takes.
    TooLarge,
    /// It nests more than 128 deep.
    TooDeep,
    /// It is not one JSON value in UTF-8.
    NotJson,
}

impl Json {
    /// The value that bytes are.
    ///
    /// # Errors
    /// Why they are none.
    pub fn read(bytes: Vec<u8>) -> Result<Json, ResultMissing> {
        if bytes.is_empty() {
            return Err(ResultMissing::NotWritten);
        }
        if depth(&bytes) > DEPTH {
            return Err(ResultMissing::TooDeep);
        }
        let text = String::from_utf8(bytes).map_err(|_| ResultMissing::NotJson)?;
        let value = RawValue::from_string(text).map_err(|_| ResultMissing::NotJson)?;
        // A report is a line: what has lines of its own could pass for others. (In strings there are none.)
        let line = value.get().replace(['\n', '\r'], "");
        RawValue::from_string(line).map(Json).map_err(|_| ResultMissing::NotJson)
    }

    /// Its text.
    pub fn text(&self) -> &str {
        self.0.get()
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Json) -> bool {
        self.text() == other.text()
    }
}

impl JsonSchema for Json {
    fn schema_name() -> Cow<'static, str> {
        "Json".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "description": "Any JSON value." })
    }
}

/// How deep brackets nest, if this is JSON at all.
fn depth(bytes: &[u8]) -> usize {
    let (mut deep, mut deepest) = (0usize, 0);
    let mut bytes = bytes.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'[' | b'{' => deep += 1,
            b']' | b'}' => deep = deep.saturating_sub(1),
            b'"' => skip_string(&mut bytes),
            _ => {}
        }
        deepest = deepest.max(deep);
    }
    deepest
}

fn skip_string(bytes: &mut std::slice::Iter<'_, u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => drop(bytes.next()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, ResultMissing> {
        Json::read(text.into()).map(|json| json.text().to_owned())
    }

    #[test]
    fn a_value_stays_as_it_was_written() {
        for text in ["1180591620717411303424", "{\"a\": [1, 2.50, null]}", "\"\\ud800\"", "0"] {
            assert_eq!(read(text).as_deref(), Ok(text));
        }
    }

    #[test]
    fn it_is_one_line() {
        assert_eq!(read("[\n{\r\n\"a\\n\": 1}\n]").as_deref(), Ok("[{\"a\\n\": 1}]"));
        assert_eq!(read("1\n2"), Err(ResultMissing::NotJson));
    }

    #[test]
    fn what_is_no_value_is_told_apart() {
        assert_eq!(read(""), Err(ResultMissing::NotWritten));
        for text in ["NaN", "1 2", "{", "\"", "[1,]", "'a'"] {
            assert_eq!(read(text), Err(ResultMissing::NotJson), "{text}");
        }
        assert_eq!(Json::read(vec![b'"', 0xff, b'"']).err(), Some(ResultMissing::NotJson));
    }

    #[test]
    fn depth_is_bounded_and_brackets_in_strings_do_not_count() {
        let nested = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert!(read(&nested(DEPTH)).is_ok());
        assert_eq!(read(&nested(DEPTH + 1)), Err(ResultMissing::TooDeep));
        assert_eq!(read(&nested(1 << 20)), Err(ResultMissing::TooDeep));
        let quoted = format!("\"\\\"{}\"", "[".repeat(1000));
        assert!(read(&quoted).is_ok());
    }

    #[test]
    fn a_report_takes_it_in_and_gives_it_out() {
        let mut report = crate::report::Report::sandbox_error("x".into());
        report.result = Json::read(b"[18446744073709551616]".to_vec()).ok();
        let text = serde_json::to_string(&report).unwrap();
        assert!(text.contains("\"result\":[18446744073709551616]"), "{text}");
        assert_eq!(serde_json::from_str::<crate::report::Report>(&text).unwrap(), report);
    }
}
