//! What a zygote loads ahead.

use super::{WarmError, harness};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The longest file that is loaded ahead.
const FILE_BYTES: u64 = 1 << 20;

/// Something that is loaded once, before any program, and that programs find loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Preload {
    /// A module that the interpreter finds: `numpy`.
    Module(String),
    /// A Python file of the host, which becomes the module of its name: `/srv/model.py` is `model`.
    File(PathBuf),
}

impl<T: Into<String>> From<T> for Preload {
    /// What ends with `.py` is a file.
    fn from(text: T) -> Preload {
        let text = text.into();
        if text.ends_with(".py") { Preload::File(text.into()) } else { Preload::Module(text) }
    }
}

impl fmt::Display for Preload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Preload::Module(name) => f.write_str(name),
            Preload::File(path) => path.display().fmt(f),
        }
    }
}

/// What the harness is told to load, and the files among it, which it finds beside itself.
#[derive(Default)]
pub(super) struct Loads {
    pub(super) names: Vec<String>,
    pub(super) files: Vec<(String, Vec<u8>)>,
}

impl Loads {
    /// Reads the files, so that every zygote of a pool has the same.
    pub(super) fn read(preload: &[Preload]) -> Result<Loads, WarmError> {
        let mut loads = Loads::default();
        for entry in preload {
            match entry {
                Preload::Module(name) => loads.names.push(name.clone()),
                Preload::File(path) => {
                    let wrong = |problem| WarmError::Preload { path: path.clone(), problem };
                    let name = file_name(path).map_err(wrong)?;
                    if loads.names.contains(&name) {
                        return Err(wrong("another file has its name".into()));
                    }
                    loads.files.push((name.clone(), content(path).map_err(wrong)?));
                    loads.names.push(name);
                }
            }
        }
        Ok(loads)
    }
}

fn file_name(path: &Path) -> Result<String, String> {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if stem.is_empty() || !stem.chars().all(word) || stem.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("its name is no module's (letters, digits and `_`)".into());
    }
    if harness::has(stem) {
        return Err(format!("the module `{stem}` is there already"));
    }
    Ok(format!("{stem}.py"))
}

fn content(path: &Path) -> Result<Vec<u8>, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    if !file.metadata().map_err(|error| error.to_string())?.is_file() {
        return Err("it is no regular file".into());
    }
    let mut content = Vec::new();
    file.take(FILE_BYTES + 1).read_to_end(&mut content).map_err(|error| error.to_string())?;
    if content.len() as u64 > FILE_BYTES {
        return Err(format!("it is larger than {FILE_BYTES} bytes"));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(path: &str) -> String {
        Loads::read(&[path.into()]).err().unwrap().to_string()
    }

    #[test]
    fn a_file_is_what_ends_like_one() {
        assert_eq!(Preload::from("os.path"), Preload::Module("os.path".into()));
        assert_eq!(Preload::from("/srv/model.py"), Preload::File("/srv/model.py".into()));
    }

    #[test]
    fn files_that_cannot_be_modules_are_named() {
        assert_eq!(
            problem("/srv/my-model.py"),
            "cannot preload `/srv/my-model.py`: its name is no module's (letters, digits and `_`)"
        );
        for path in ["/x/.py", "/x/1.py", "/x/ä.py"] {
            assert!(problem(path).contains("no module's"), "{path}");
        }
        for own in ["sitecustomize", "wardian_end", "wardian_zygote"] {
            assert!(problem(&format!("/x/{own}.py")).contains("is there already"), "{own}");
        }
        assert!(problem("/nowhere/model.py").contains("No such file"));
    }

    #[test]
    fn only_small_regular_files_once() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        std::fs::create_dir(at("folder.py")).unwrap();
        assert!(problem(&at("folder.py")).contains("no regular file"));
        std::fs::write(at("large.py"), vec![b'#'; (1 << 20) + 1]).unwrap();
        assert!(problem(&at("large.py")).contains("larger than 1048576 bytes"));
        std::fs::write(at("a.py"), "").unwrap();
        let twice = Loads::read(&[at("a.py").into(), at("a.py").into()]).err().unwrap();
        assert!(twice.to_string().contains("another file has its name"));
    }
}
