//! How an interpreter is started: as it always is, or trimmed.
//!
//! A quarter of what `python3 -c pass` costs is finding out where things are: reading directories, `.pth` files
//! and the pieces of `encodings` and `os` that each start needs. All of it is known beforehand. The trimmed
//! start puts one file, the hook, first on `sys.path`, under the name of the first module that every
//! interpreter imports. It hands out the modules of the start from memory, does what is left of the work of
//! `site`, takes itself off the path and out of the environment, and is gone before the program begins: the
//! program is started by Python itself, with its own flags and no frame of ours below it.
//!
//! `os`, `stat`, `posixpath`, `genericpath` and `_collections_abc` are in `sys.modules` as always, but loaded
//! when they are first touched. Lines of `.pth` files and `sitecustomize` run as always, by `site` itself.
//!
//! What can still be told apart: `sys.path_importer_cache` has fewer entries, `types.ModuleType` has a subclass
//! until those modules are loaded, `/proc/self/environ` (not `os.environ`) names the hook's directory.
//!
//! Before it is used, the interpreter is started both ways and asked for everything that could differ; if
//! anything does, it is started as it always is.

use super::layout::Interpreter;
use super::probe;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

pub(super) const BUILD: &str = include_str!("start/build.py");
pub(super) const HOOK: &str = include_str!("start/hook.py");
pub(super) const CHECK: &str = include_str!("start/check.py");

/// How an interpreter is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Start {
    /// As it always is; with the reason.
    Normal(String),
    /// With the hook in front. It is kept beside what is written of the rest: it is large, and taken as it is.
    Trimmed(#[serde(skip)] Hook),
}

/// What makes a start a trimmed one: a file, and the directory of that file as `PYTHONPATH`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hook(pub(super) Vec<u8>);

impl Hook {
    /// The name that the file must have.
    pub const NAME: &'static str = "encodings.pyc";

    /// What the file contains.
    pub fn into_content(self) -> Vec<u8> {
        self.0
    }
}

impl Start {
    /// The hook, if the start is trimmed and none of the guest's environment variables changes how Python starts.
    pub fn into_hook<'a>(self, mut variables: impl Iterator<Item = &'a str>) -> Option<Hook> {
        const KNOWN: [&str; 6] = [
            "PYTHONDONTWRITEBYTECODE",
            "PYTHONUNBUFFERED",
            "PYTHONHASHSEED",
            "PYTHONIOENCODING",
            "PYTHONUTF8",
            "PYTHONFAULTHANDLER",
        ];
        match self {
            Start::Trimmed(hook) => {
                let changes = |name: &str| name.starts_with("PYTHON") && !KNOWN.contains(&name);
                (!variables.any(changes)).then_some(hook)
            }
            Start::Normal(_) => None,
        }
    }
}

#[derive(Serialize)]
struct Question<'a> {
    hook: &'a str,
    left_out: Vec<&'a Path>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Built {
    hook: String,
    sources: Vec<PathBuf>,
}

/// The best start that is proven equal to the normal one, and the files that it was made of.
pub(super) fn make(interpreter: &Interpreter) -> (Start, Vec<PathBuf>) {
    match build(interpreter).and_then(|(hook, sources)| {
        prove(&interpreter.executable, &hook)?;
        Ok((hook, sources))
    }) {
        Ok((hook, sources)) => (Start::Trimmed(hook), sources),
        Err(why) => (Start::Normal(why), Vec::new()),
    }
}

fn build(interpreter: &Interpreter) -> Result<(Hook, Vec<PathBuf>), String> {
    let left_out = interpreter.left_out.iter().map(|(path, _)| path.as_path()).collect();
    let question =
        serde_json::to_vec(&Question { hook: HOOK, left_out }).map_err(|error| error.to_string())?;
    let answer = probe::run(&interpreter.executable, &["-S", "-B", "-c", BUILD], &[], &question)?;
    let built: Built = serde_json::from_slice(&answer).map_err(|error| error.to_string())?;
    let hook = BASE64_STANDARD.decode(built.hook).map_err(|error| error.to_string())?;
    Ok((Hook(hook), built.sources))
}

/// Starts it both ways; nothing that a program can ask for may differ.
fn prove(executable: &Path, hook: &Hook) -> Result<(), String> {
    let directory = Directory::new()?;
    fs::write(directory.0.join(Hook::NAME), &hook.0).map_err(|error| error.to_string())?;
    let path = directory.0.to_str().ok_or("the directory for temporary files is not UTF-8")?;
    let args = ["-B", "-c", CHECK];
    let normal = probe::run(executable, &args, &[], b"")?;
    let trimmed = probe::run(executable, &args, &[("PYTHONPATH", path)], b"")?;
    if normal != trimmed {
        return Err("the two starts can be told apart".into());
    }
    Ok(())
}

/// A private directory for as long as the proof takes.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Result<Directory, String> {
        let mut random = [0u8; 12];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
            .map_err(|error| error.to_string())?;
        let name: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let path = std::env::temp_dir().join(format!("wardian-{name}"));
        fs::DirBuilder::new().mode(0o700).create(&path).map_err(|error| error.to_string())?;
        let directory = Directory(path);
        // The interpreter may run as another user than we do; there is no secret in a hook.
        fs::set_permissions(&directory.0, fs::Permissions::from_mode(0o755))
            .map_err(|error| error.to_string())?;
        if directory.0.as_os_str().as_bytes().contains(&b':') {
            return Err("the directory for temporary files has a `:` in its name".into());
        }
        Ok(directory)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_change_the_start_forbid_the_hook() {
        let start = Start::Trimmed(Hook::default());
        assert!(start.clone().into_hook(["HOME", "PYTHONUNBUFFERED"].into_iter()).is_some());
        for name in ["PYTHONPATH", "PYTHONHOME", "PYTHONOPTIMIZE", "PYTHONVERBOSE", "PYTHONNOUSERSITE"] {
            assert!(start.clone().into_hook(["HOME", name].into_iter()).is_none(), "{name}");
        }
        assert!(Start::Normal(String::new()).into_hook(["HOME"].into_iter()).is_none());
    }
}
