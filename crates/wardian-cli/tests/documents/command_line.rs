//! `docs/command-line.md` is made of what the commands say of themselves; `WARDIAN_BLESS=1` writes it.

use super::session::binary;
use std::process::Command;

const BEFORE: &str = "# The command line

What `wardian` says of itself. This document is generated: `WARDIAN_BLESS=1 cargo test -p wardian-cli --test documents`
writes it anew. [Exit codes and the report](specification.md) are a contract; so are the names of the options.
[Policies](policies.md) has every key of a policy file.
";

const COMMANDS: [&str; 13] = [
    "--help",
    "run --help",
    "serve --help",
    "policy --help",
    "policy list",
    "policy show python",
    "policy show --help",
    "policy check --help",
    "policy import-nsjail --help",
    "doctor --help",
    "safeexec --help",
    "gc --help",
    "completions --help",
];

fn generate() -> String {
    let mut text = BEFORE.to_owned();
    for command in COMMANDS {
        let output = Command::new(binary()).args(command.split(' ')).env_clear().output().unwrap();
        assert!(output.status.success(), "wardian {command}: {}", String::from_utf8_lossy(&output.stderr));
        let answer = String::from_utf8(output.stdout).unwrap();
        let answer: Vec<&str> = answer.trim_end().lines().map(str::trim_end).collect();
        text += &format!(
            "\n## `wardian {command}`\n\n```console\n$ wardian {command}\n{}\n```\n",
            answer.join("\n")
        );
    }
    text
}

#[test]
fn the_document_of_the_command_line_is_up_to_date() {
    let generated = generate();
    if std::env::var_os("WARDIAN_BLESS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/command-line.md");
        return std::fs::write(path, generated).unwrap();
    }
    let committed = super::DOCUMENTS.iter().find(|(path, _)| *path == "docs/command-line.md").unwrap().1;
    assert!(committed == generated, "docs/command-line.md is stale: WARDIAN_BLESS=1 writes it anew");
}

#[test]
fn the_example_in_the_help_runs() {
    let output = Command::new(binary()).args(["run", "--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let examples: Vec<&str> = help.lines().filter_map(|line| line.strip_prefix("Example: ")).collect();
    assert!(!examples.is_empty(), "{help}");
    for example in examples {
        let text = format!("```console\n$ cd examples\n$ {example}\n7\n```\n");
        super::sessions(&text)[0].run().unwrap();
    }
}
