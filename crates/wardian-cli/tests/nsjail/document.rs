//! `docs/nsjail.md` says of every field what the code does.

use std::fmt::Write as _;
use std::path::Path;
use wardian::compat::nsjail::{FIELDS, Treatment};

const SCHEMA: &str = include_str!("../../../wardian-nsjail/config.proto");

/// The value for which a field is refused: any but nsjail's default.
fn refused_value(name: &str) -> &'static str {
    let definition = format!(" {name} = ");
    let line = SCHEMA.lines().find(|line| line.contains(&definition)).unwrap();
    match line {
        _ if line.contains("[default = true]") => "refused if `false`",
        _ if line.contains("[default = false]") => "refused if `true`",
        _ => "refused if set",
    }
}

/// The table as the document must have it.
fn table() -> String {
    let mut text = String::from("| field | wardian | how, or why not |\n|---|---|---|\n");
    for field in FIELDS {
        let (word, how) = match field.treatment {
            Treatment::Honoured(how) => ("honoured", how),
            Treatment::HonouredIf { values, .. } => ("honoured if", values),
            Treatment::Refused(why) => (refused_value(field.name), why),
        };
        writeln!(text, "| `{}` | {word} | {how} |", field.name).unwrap();
    }
    text
}

#[test]
fn the_document_has_the_table_of_fields() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/nsjail.md");
    let document = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = ("<!-- fields -->\n", "<!-- end of fields -->");
    let (before, rest) = document.split_once(begin).unwrap();
    let (written, after) = rest.split_once(end).unwrap();
    if std::env::var_os("WARDIAN_BLESS").is_some() {
        std::fs::write(&path, format!("{before}{begin}{}{end}{after}", table())).unwrap();
        return;
    }
    assert_eq!(written, table(), "WARDIAN_BLESS=1 writes the table anew");
}
