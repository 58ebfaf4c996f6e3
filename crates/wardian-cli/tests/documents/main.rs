//! Every example of README.md and docs/*.md, executed: what the documents show is what happens.
//!
//! A fenced block `console` is a session: lines after `$ ` are commands for a shell, what follows is their output.
//! `...` stands for any lines, `[..]` for anything within a line. A session runs in a directory of its own that
//! holds `examples/`, as a clone does. A fenced block `sh` is a session whose output is not shown.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod command_line;
mod policies;
mod service;
mod session;

use session::{Block, Session, blocks};
use std::io::Write as _;

macro_rules! documents {
    ($($path:literal),* $(,)?) => {
        /// The documents, as they were when the test was built.
        const DOCUMENTS: &[(&str, &str)] =
            &[$(($path, include_str!(concat!("../../../../", $path)))),*];
    };
}

documents!(
    "README.md",
    "docs/command-line.md",
    "docs/from-codejail.md",
    "docs/from-exec.md",
    "docs/from-restrictedpython.md",
    "docs/judging.md",
    "docs/nsjail.md",
    "docs/policies.md",
    "docs/python.md",
    "docs/safeexec.md",
    "docs/server.md",
    "docs/specification.md",
    "docs/theory-of-operation.md",
    "docs/threat-model.md",
);

/// Commands that are not executed, and why.
const NOT_EXECUTED: [(&str, &str); 1] = [("./check", "it runs this test")];

#[test]
fn no_document_is_left_out() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let Ok(entries) = std::fs::read_dir(root.join("docs")) else {
        let _ = writeln!(std::io::stderr(), "SKIP no_document_is_left_out: the sources are not here");
        return;
    };
    for entry in entries {
        let path = format!("docs/{}", entry.unwrap().file_name().to_string_lossy());
        if path.ends_with(".md") {
            assert!(DOCUMENTS.iter().any(|(listed, _)| *listed == path), "{path} is not executed");
        }
    }
}

/// The sessions of one document.
fn sessions(text: &str) -> Vec<Session> {
    let shown = |block: &&Block| matches!(block.language.as_str(), "console" | "sh");
    blocks(text).iter().filter(shown).filter_map(Session::read).collect()
}

#[test]
fn what_the_documents_show_is_what_happens() {
    if session::no_python() {
        let _ =
            writeln!(std::io::stderr(), "SKIP what_the_documents_show_is_what_happens: there is no python3");
        return;
    }
    let mut failures = Vec::new();
    let mut executed = 0;
    for (path, text) in DOCUMENTS {
        for mut session in sessions(text) {
            session.commands.retain(|command| NOT_EXECUTED.iter().all(|(not, _)| command.text != *not));
            if session.calls_service() && !std::path::Path::new("/usr/bin/curl").exists() {
                let _ = writeln!(std::io::stderr(), "SKIP {path}, line {}: there is no curl", session.line);
                continue;
            }
            executed += session.commands.len();
            if let Err(failure) = session.run() {
                failures.push(format!("{path}, line {}: {failure}", session.line));
            }
        }
    }
    assert!(executed > 20, "only {executed} commands were found");
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn a_document_that_lies_is_found_out() {
    for lie in [
        "$ echo no\nyes\n",
        "$ echo yes\n",
        "$ true\nyes\n",
        "$ echo a b\na [..] c\n",
        "$ printf 'a\\nb'\n...\na\n",
    ] {
        let text = format!("```console\n{lie}```\n");
        assert!(sessions(&text)[0].run().is_err(), "{lie}");
    }
    let text = "```console\n$ printf 'a\\nb\\nc d e\\n'; false\na\n...\nc [..] e\n$ echo $?\n1\n```\n";
    sessions(text)[0].run().unwrap();
}
