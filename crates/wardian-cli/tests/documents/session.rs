//! Reading sessions from a document, and running them.

use crate::service::{self, Service};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A fenced block.
pub struct Block {
    /// What follows the fence.
    pub language: String,
    /// The line of the fence.
    pub line: usize,
    lines: Vec<String>,
}

/// Commands that are typed one after the other.
pub struct Session {
    /// Where in the document.
    pub line: usize,
    /// The commands.
    pub commands: Vec<Typed>,
    /// Whether the document says what they answer.
    answers: bool,
}

/// A command and its answer.
pub struct Typed {
    /// What is typed.
    pub text: String,
    expected: Vec<String>,
}

/// The fenced blocks of a document.
pub fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (line, content) in (1..).zip(text.lines()) {
        match (content.trim_start().strip_prefix("```"), open.take()) {
            (Some(language), None) => {
                open = Some(Block { language: language.into(), line, lines: Vec::new() });
            }
            (Some(_), Some(block)) => blocks.push(block),
            (None, Some(mut block)) => {
                block.lines.push(content.into());
                open = Some(block);
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

impl Session {
    /// None for a block without commands.
    pub fn read(block: &Block) -> Option<Session> {
        let answers = block.language == "console";
        let mut commands: Vec<Typed> = Vec::new();
        for line in &block.lines {
            let typed = if answers { line.strip_prefix("$ ") } else { Some(line.as_str()) };
            match (typed, commands.last_mut()) {
                (Some(text), _) => commands.push(Typed { text: text.into(), expected: Vec::new() }),
                (None, Some(command)) => command.expected.push(line.trim_end().into()),
                (None, None) => panic!("line {}: output before any command", block.line),
            }
        }
        for command in &mut commands {
            // An empty line before the next command is for the reader.
            while command.expected.last().is_some_and(String::is_empty) {
                command.expected.pop();
            }
        }
        (!commands.is_empty()).then_some(Session { line: block.line, commands, answers })
    }

    /// Whether it needs a service, and curl.
    pub fn calls_service(&self) -> bool {
        self.commands.iter().any(|command| command.text.contains(service::SHOWN))
    }

    /// Types the commands; says what was not as shown.
    pub fn run(&self) -> Result<(), String> {
        const MARK: &str = "\u{1}end of an answer\u{1}";
        let place = Place::new();
        let service = self.calls_service().then(|| Service::start(place.directory.path()));
        let mut script = String::new();
        for command in &self.commands {
            script += &format!("{}\nstatus=$?\nprintf '%s' '{MARK}'\n(exit $status)\n", command.text);
        }
        if let Some(service) = &service {
            script = script.replace(service::SHOWN, &service.address);
        }
        let output = place.shell(&script);
        let answers: Vec<&str> = output.split(MARK).collect();
        for (command, answer) in self.commands.iter().zip(&answers) {
            let expected: Vec<&str> = command.expected.iter().map(String::as_str).collect();
            let mut seen: Vec<&str> = answer.lines().map(str::trim_end).collect();
            while seen.last().is_some_and(|line| line.is_empty()) {
                seen.pop();
            }
            if self.answers && !lines_match(&expected, &seen) {
                return Err(format!("`{}` answered:\n{answer}", command.text));
            }
            if !self.answers && seen.iter().any(|line| line.starts_with("wardian: error")) {
                return Err(format!("`{}` failed:\n{answer}", command.text));
            }
        }
        if answers.len() == self.commands.len() + 1 {
            Ok(())
        } else {
            Err(format!("the session ended early:\n{output}"))
        }
    }
}

fn lines_match(expected: &[&str], seen: &[&str]) -> bool {
    match (expected.split_first(), seen.split_first()) {
        (None, None) => true,
        (Some((&"...", rest)), _) => (0..=seen.len()).any(|skip| lines_match(rest, &seen[skip..])),
        (Some((line, expected)), Some((answer, seen))) => {
            line_matches(line, answer) && lines_match(expected, seen)
        }
        _ => false,
    }
}

fn line_matches(expected: &str, seen: &str) -> bool {
    let parts: Vec<&str> = expected.split("[..]").collect();
    let [first, between @ .., last] = parts.as_slice() else { return expected == seen };
    let Some(mut rest) = seen.strip_prefix(first) else { return false };
    for part in between {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// The binary under test.
pub fn binary() -> PathBuf {
    std::env::var_os("WARDIAN_BIN").map_or_else(|| env!("CARGO_BIN_EXE_wardian").into(), PathBuf::from)
}

/// Whether there is nothing to run the examples with.
pub fn no_python() -> bool {
    !Path::new("/usr/bin/python3").exists()
}

macro_rules! examples {
    ($($name:literal),* $(,)?) => {
        /// `examples/`, as it was when the test was built.
        const EXAMPLES: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../../../examples/", $name)))),*];
    };
}

examples!(
    "analyse.py",
    "cases/1.in",
    "cases/1.out",
    "cases/2.in",
    "cases/2.out",
    "data.csv",
    "dataset/data.csv",
    "hello.py",
    "input.txt",
    "judge.sh",
    "plot.py",
    "policies/contest.toml",
    "policies/gcc.toml",
    "policies/git.toml",
    "policies/loopback.toml",
    "sandbox.cfg",
    "solution.py",
);

/// A reader's clone, of which only the examples are there, and programs to type.
struct Place {
    directory: tempfile::TempDir,
}

/// `cargo run … -- ARGS` runs the binary that cargo has built already.
const CARGO: &str = "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\nshift\nexec wardian \"$@\"\n";

impl Place {
    fn new() -> Place {
        let directory = tempfile::tempdir().unwrap();
        let place = Place { directory };
        let path = |name: &str| place.directory.path().join(name);
        std::fs::set_permissions(path(""), PermissionsExt::from_mode(0o755)).unwrap();
        for sub in ["bin", "home"] {
            std::fs::create_dir_all(path(sub)).unwrap();
        }
        for (name, content) in EXAMPLES {
            let file = path("here/examples").join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, content).unwrap();
        }
        symlink(binary(), path("bin/wardian")).unwrap();
        std::fs::write(path("bin/cargo"), CARGO).unwrap();
        std::fs::set_permissions(path("bin/cargo"), PermissionsExt::from_mode(0o755)).unwrap();
        place
    }

    /// Both streams of a shell's, in the order they were written.
    fn shell(&self, script: &str) -> String {
        let path = |name: &str| self.directory.path().join(name);
        let output = Command::new("/bin/sh")
            .args(["-c", &format!("exec 2>&1\n{script}")])
            .current_dir(path("here"))
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin:/usr/sbin:/sbin", path("bin").display()))
            .env("HOME", path("home"))
            .env("LANG", "C.UTF-8")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}
