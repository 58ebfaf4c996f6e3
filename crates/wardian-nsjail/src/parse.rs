//! From the text of a file to [`NsjailConfig`].

use std::{fmt, sync::OnceLock};

use miette::Diagnostic as _;
use prost_reflect::{
    Cardinality, DescriptorPool, DynamicMessage, MessageDescriptor, ReflectMessage as _, SerializeOptions,
    Value,
};
use serde::{Deserialize as _, de::DeserializeSeed as _};

use crate::{NsjailConfig, json::UniqueKeys, multiline};

/// The largest file read, in bytes. nsjail's own samples are below 10 KiB.
const MAX_BYTES: usize = 1 << 20;
/// The two forms of nsjail's config file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// protobuf's text format.
    Text,
    /// proto-JSON: lowerCamelCase names, 64-bit integers as strings.
    Json,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text format",
            Self::Json => "JSON",
        })
    }
}

/// Why a config file cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// The file is larger than any config is.
    #[error("cannot read nsjail config: {bytes} bytes, more than {MAX_BYTES}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The file is not of the form its first character announces, or holds what the schema does not.
    #[error("cannot read nsjail config as {format}: line {line}, column {column}: {message}")]
    Syntax {
        /// The form it was read as.
        format: Format,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// What is wrong there.
        message: String,
    },
    /// A field that the schema requires is missing.
    #[error("cannot read nsjail config: required field `{field}` is not set")]
    Required {
        /// Its path, such as `mount[2].dst`.
        field: String,
    },
    /// A value is outside what its field can hold, such as an enum number nobody defined.
    #[error("cannot read nsjail config: {message}")]
    Value {
        /// Which value, and what the field holds.
        message: String,
    },
}

/// Reads a config file in either form.
///
/// nsjail tries both forms and wants exactly one to succeed. The first character decides that alone: a JSON
/// config starts with `{`, with which no text-format message can start. Nesting needs no bound of its own:
/// the text reader descends only along the schema, which is four deep, and the JSON reader stops at 128.
///
/// # Errors
/// A file over 1 MiB; a syntax error, unknown field, wrong type or field set twice (with line and column); a
/// missing required field; an enum number nobody defined.
pub fn parse(text: &str) -> Result<NsjailConfig, ParseError> {
    if text.len() > MAX_BYTES {
        return Err(ParseError::TooLarge { bytes: text.len() });
    }
    let format = if text.trim_start().starts_with('{') { Format::Json } else { Format::Text };
    let message = match format {
        Format::Text => from_text(text),
        Format::Json => from_json(text),
    }
    .map_err(|Fault { at: (line, column), message }| ParseError::Syntax {
        format,
        line,
        column,
        message,
    })?;
    if let Some(field) = missing_required(&message) {
        return Err(ParseError::Required { field });
    }
    typed(&message)
}

/// Where reading stopped, as (line, column), and why.
struct Fault {
    at: (usize, usize),
    message: String,
}

fn from_text(text: &str) -> Result<DynamicMessage, Fault> {
    let (escaped, added) = multiline::escaped(text);
    DynamicMessage::parse_text_format(descriptor(), &escaped).map_err(|error| {
        let span = error.labels().and_then(|mut labels| labels.next());
        // The only error without a span is the unexpected end of the file.
        let offset = span.map_or(escaped.len(), |label| label.offset());
        let offset = offset - added.partition_point(|at| *at < offset);
        let detail = std::error::Error::source(&error).map(ToString::to_string);
        Fault { at: position(text, offset), message: detail.unwrap_or_else(|| error.to_string()) }
    })
}

fn from_json(text: &str) -> Result<DynamicMessage, Fault> {
    let read = || {
        let mut unique = serde_json::Deserializer::from_str(text);
        UniqueKeys.deserialize(&mut unique)?;
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let message = DynamicMessage::deserialize(descriptor(), &mut deserializer)?;
        deserializer.end()?;
        Ok(message)
    };
    read().map_err(|error: serde_json::Error| {
        let at = characters(text, error.line(), error.column());
        let message = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        Fault { at, message: message.strip_suffix(&place).map(str::to_owned).unwrap_or(message) }
    })
}

/// Turns the checked message into the struct; both know the same fields under the same names.
fn typed(message: &DynamicMessage) -> Result<NsjailConfig, ParseError> {
    let options = SerializeOptions::new().stringify_64_bit_integers(false).use_proto_field_name(true);
    message
        .serialize_with_options(serde_json::value::Serializer, &options)
        .and_then(NsjailConfig::deserialize)
        .map_err(|error| ParseError::Value { message: error.to_string() })
}

/// The path of the first required field that is not set, depth first.
fn missing_required(message: &DynamicMessage) -> Option<String> {
    for field in message.descriptor().fields() {
        if !message.has_field(&field) {
            if field.cardinality() == Cardinality::Required {
                return Some(field.name().to_owned());
            }
            continue;
        }
        let inner = match message.get_field(&field).as_ref() {
            Value::Message(inner) => missing_required(inner).map(|path| format!("{}.{path}", field.name())),
            Value::List(items) => items.iter().enumerate().find_map(|(index, item)| {
                let path = missing_required(item.as_message()?)?;
                Some(format!("{}[{index}].{path}", field.name()))
            }),
            _ => None,
        };
        if inner.is_some() {
            return inner;
        }
    }
    None
}

/// Line and column, both from 1, of a byte offset; the column counts characters.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// serde_json's place, whose column counts bytes and is 0 at a line's start, in the terms of [`position`].
fn characters(text: &str, line: usize, column: usize) -> (usize, usize) {
    let before =
        text.split('\n').nth(line.saturating_sub(1)).and_then(|line| line.get(..column.saturating_sub(1)));
    (line.max(1), before.map_or(column.max(1), |before| before.chars().count() + 1))
}

/// The schema's root message.
fn descriptor() -> MessageDescriptor {
    static ROOT: OnceLock<MessageDescriptor> = OnceLock::new();
    ROOT.get_or_init(|| {
        DescriptorPool::decode(include_bytes!(concat!(env!("OUT_DIR"), "/config.bin")).as_slice())
            .ok()
            .and_then(|pool| pool.get_message_by_name("nsjail.NsJailConfig"))
            .expect("the build script compiled this very descriptor set from config.proto, which defines the message")
    })
    .clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mode;

    fn syntax(text: &str) -> (Format, usize, usize, String) {
        match parse(text) {
            Err(ParseError::Syntax { format, line, column, message }) => (format, line, column, message),
            other => panic!("expected a syntax error, got {other:?}"),
        }
    }

    #[test]
    fn presence_is_kept_apart_from_the_value() {
        let config = parse("time_limit: 600 keep_env: true").unwrap();
        assert_eq!(config.set_fields(), ["time_limit", "keep_env"]);
        assert_eq!(config.changed_fields(), ["keep_env"]);
        assert_eq!(config.time_limit, Some(600));
        assert_eq!(config.rlimit_nofile(), 32);
        assert_eq!(config.hostname(), "NSJAIL");
        assert_eq!(parse("").unwrap(), NsjailConfig::default());
    }

    #[test]
    fn text_format_syntax_of_protobuf_is_accepted() {
        let text = "# comment\nmode: 1; hostname: 'a' \"b\\x41\", pass_fd: [3, 0x4] uidmap < inside_id: \"7\" >\n\
                    mount { dst: \"/f\" src_content: \"\\000\\377\" } cgroup_mem_swap_max: -1 exec_bin: { path: '/x' }";
        let config = parse(text).unwrap();
        assert_eq!(config.mode(), Mode::Once);
        assert_eq!(config.hostname(), "abA");
        assert_eq!(config.pass_fd, [3, 4]);
        assert_eq!(config.uidmap[0].inside_id(), "7");
        assert_eq!(config.mount[0].src_content.as_deref(), Some(&[0, 255][..]));
        assert_eq!(config.exec_bin.unwrap().path(), "/x");
    }

    #[test]
    fn json_takes_both_spellings_and_64_bit_numbers_either_way() {
        let config = parse(
            r#" {"timeLimit": 6, "rlimit_as": "700", "cgroupMemMax": 9, "mode": "EXECVE", "hostname": null,
                              "mount": [{"dst": "/f", "srcContent": "AP8="}]}"#,
        )
        .unwrap();
        assert_eq!((config.time_limit(), config.rlimit_as(), config.cgroup_mem_max()), (6, 700, 9));
        assert_eq!(config.mode(), Mode::Execve);
        assert_eq!(config.hostname, None);
        assert_eq!(config.mount[0].src_content.as_deref(), Some(&[0, 255][..]));
    }

    #[test]
    fn unknown_fields_are_named_where_they_stand() {
        assert_eq!(
            syntax("name: \"x\"\n\tno_such: 1"),
            (Format::Text, 2, 2, "field 'no_such' not found for message 'nsjail.NsJailConfig'".into())
        );
        let (format, line, _, message) = syntax("{\n \"noSuch\": 1}");
        assert_eq!((format, line), (Format::Json, 2));
        assert!(message.contains("'noSuch'"), "{message}");
        assert!(
            syntax("mount { dst: '/' flags: 1 }")
                .3
                .contains("'flags' not found for message 'nsjail.MountPt'")
        );
        assert!(syntax("nam: 'x'").3.contains("'nam'"));
    }

    #[test]
    fn wrong_types_are_refused() {
        for text in [
            "time_limit: \"6\"",
            "time_limit: -1",
            "time_limit: 4294967296",
            "keep_env: maybe",
            "keep_env: 2",
            "name: 6",
            "name: \"\\xff\"",
            "uidmap: 7",
            "mode: TWICE",
            "name: [\"a\", \"b\"]",
        ] {
            let (format, line, column, message) = syntax(text);
            assert_eq!((format, line), (Format::Text, 1), "{text}");
            assert!(column > 1 && !message.is_empty(), "{text}: {column} {message}");
        }
        for text in
            [r#"{"timeLimit": "six"}"#, r#"{"timeLimit": -1}"#, r#"{"mode": "TWICE"}"#, r#"{"envar": "A=B"}"#]
        {
            assert_eq!(syntax(text).0, Format::Json, "{text}");
        }
        assert!(matches!(parse("mode: 9"), Err(ParseError::Value { .. })));
        assert!(matches!(parse(r#"{"mode": 9}"#), Err(ParseError::Value { .. })));
        assert!(matches!(
            parse(r#"{"mount": [{"dst": "/f", "srcContent": "?"}]}"#),
            Err(ParseError::Syntax { .. })
        ));
    }

    #[test]
    fn broken_syntax_is_placed() {
        // Strings may have lines: this one ends where the next should have begun.
        assert_eq!(syntax("name: \"unterminated\ncwd: \"/\"").1, 2);
        let (_, line, column, message) = syntax("name: 'x'\nmount {\n  dst: '/é' ");
        assert_eq!((line, column), (3, 13), "{message}");
        assert!(message.contains("end of input"), "{message}");
        assert_eq!(syntax("name: 'x' }").2, 11);
        assert_eq!(syntax("{\"name\": \"x\"").0, Format::Json);
        assert_eq!(syntax("{\n\"name\": \"éé\" x").2, syntax("{\n\"name\": \"ee\" x").2);
        assert_eq!(syntax("{} {}").0, Format::Json);
        assert_eq!(syntax("[1]").0, Format::Text);
    }

    #[test]
    fn a_field_set_twice_is_refused_in_both_forms() {
        assert!(syntax("cwd: '/a'\ncwd: '/b'").3.contains("'cwd' is already set"));
        assert!(syntax(r#"{"timeLimit": 1, "time_limit": 2}"#).3.contains("'time_limit' is already set"));
        assert!(syntax(r#"{"mount": [{"dst": "/a", "dst": "/b"}]}"#).3.contains("'dst' is already set"));
    }

    #[test]
    fn required_fields_are_asked_for_by_path() {
        let missing = |text| match parse(text) {
            Err(ParseError::Required { field }) => field,
            other => panic!("expected a missing field, got {other:?}"),
        };
        assert_eq!(missing("mount { dst: '/' } mount { src: '/' }"), "mount[1].dst");
        assert_eq!(missing(r#"{"execBin": {"arg": ["x"]}}"#), "exec_bin.path");
    }

    #[test]
    fn size_and_nesting_are_bounded() {
        let large = format!("name: '{}'", "x".repeat(MAX_BYTES));
        assert_eq!(parse(&large), Err(ParseError::TooLarge { bytes: large.len() }));
        for opening in
            ["mount { ", "mount: [", "< ", "user_net { pasta { ", "{\"mount\":", "{\"mount\":[", "["]
        {
            assert!(parse(&opening.repeat(60_000)).is_err(), "{opening}");
        }
    }

    #[test]
    fn the_struct_has_the_fields_and_defaults_of_the_schema() {
        let names = |message: &MessageDescriptor| {
            let mut fields: Vec<_> = message.fields().collect();
            fields.sort_by_key(|field| field.number());
            fields.iter().map(|field| field.name().to_owned()).collect::<Vec<_>>()
        };
        let root = descriptor();
        let mut fields = NsjailConfig::FIELDS.to_vec();
        let mut schema = names(&root);
        fields.sort_unstable();
        schema.sort_unstable();
        assert_eq!(fields, schema);
        assert_eq!(fields.len(), 101);
        let nested = |name| names(&root.parent_pool().get_message_by_name(name).unwrap());
        assert_eq!(crate::MountPt::FIELDS, nested("nsjail.MountPt"));
        assert_eq!(crate::IdMap::FIELDS, nested("nsjail.IdMap"));
        assert_eq!(crate::Exe::FIELDS, nested("nsjail.Exe"));
    }

    #[test]
    fn the_structs_defaults_are_the_schemas() {
        let mut message = DynamicMessage::new(descriptor());
        for field in
            descriptor().fields().filter(|field| !field.is_list() && field.kind().as_message().is_none())
        {
            message.set_field(&field, field.default_value());
        }
        let config = typed(&message).unwrap();
        let without_default = [
            "log_fd",
            "log_file",
            "log_level",
            "oom_score_adj",
            "seccomp_policy_file",
            "seccomp_unotify_report",
            "macvlan_iface",
        ];
        assert_eq!(config.changed_fields(), without_default);
        assert!(config.set_fields().len() > 80);
    }
}
