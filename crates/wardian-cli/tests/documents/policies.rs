//! `docs/policies.md` has every key of a policy file, with the default that the preset `python` gives it.

use super::session::binary;
use serde_json::Value;
use std::process::Command;

const DOCUMENT: &str = include_str!("../../../../docs/policies.md");

fn answer(words: &[&str]) -> String {
    let output = Command::new(binary()).args(words).output().unwrap();
    assert!(output.status.success(), "{words:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The cells of a key's row, or nothing.
fn row(key: &str) -> Option<Vec<&'static str>> {
    let start = format!("| `{key}` |");
    let (_, keys) = DOCUMENT.split_once("\n## Keys\n")?;
    let line = keys.lines().find(|line| line.starts_with(&start))?;
    Some(line.split('|').map(str::trim).collect())
}

/// The keys of a table of the schema, dotted; those of tables in it instead of the tables.
fn keys(schema: &Value, table: &Value, before: &str) -> Vec<String> {
    let name_of = |value: &Value| value["$ref"].as_str()?.strip_prefix("#/$defs/").map(str::to_owned);
    let mut all = Vec::new();
    for (name, value) in table["properties"].as_object().unwrap() {
        let inner = name_of(value).map(|name| &schema["$defs"][name]);
        match inner.filter(|inner| inner["properties"].is_object()) {
            Some(inner) => all.extend(keys(schema, inner, &format!("{before}{name}."))),
            None => all.push(format!("{before}{name}")),
        }
    }
    all
}

#[test]
fn every_key_of_a_policy_file_is_documented() {
    let schema: Value = serde_json::from_str(&answer(&["policy", "schema"])).unwrap();
    let mount: Value = schema["$defs"]["Mount"].clone();
    let all = [keys(&schema, &schema, ""), keys(&schema, &mount, "")].concat();
    assert!(all.len() > 50, "{all:?}");
    let missing: Vec<_> = all.iter().filter(|key| row(key).is_none()).collect();
    assert!(missing.is_empty(), "docs/policies.md has no row for {missing:?}");
}

#[test]
fn the_defaults_are_those_of_the_preset() {
    let mut table = String::new();
    let mut compared = 0;
    for line in answer(&["policy", "show", "python"]).lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            table = format!("{name}.");
        } else if let Some((key, value)) = line.split_once(" = ").filter(|(_, value)| *value != "[") {
            let cells = row(&format!("{table}{key}")).unwrap();
            assert!(
                key == "description" || cells[3] == format!("`{value}`"),
                "{table}{key} is {value}: {cells:?}"
            );
            compared += 1;
        }
    }
    assert!(compared > 30, "only {compared}");
}
