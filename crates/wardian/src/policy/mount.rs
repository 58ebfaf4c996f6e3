//! A mount of the host's as people write it in one word.

use super::{Mount, MountKind};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Why a word is no mount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MountError {
    /// A part that means nothing.
    #[error("`{0}` is none of src=, dst=, ro, rw, as_owner")]
    Part(String),
    /// A part that every mount has.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// The short form, with too few or too many colons.
    #[error("is not HOST:GUEST[:ro|rw]")]
    Form,
    /// The host path is empty, or cannot be made absolute as the working directory is gone.
    #[error("the host path `{}` cannot be made absolute", .0.display())]
    Source(PathBuf),
}

impl MountError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        "write src=HOST,dst=GUEST[,rw[,as_owner]], or HOST:GUEST[:ro|rw] where no path has a colon"
    }
}

impl FromStr for Mount {
    type Err = MountError;

    /// `src=HOST,dst=GUEST[,rw[,as_owner]]` or `HOST:GUEST[:ro|rw]`; read-only unless it says `rw`. A relative host path is
    /// taken from the working directory; whether it is there is found out when the plan is made.
    fn from_str(text: &str) -> Result<Mount, MountError> {
        let Words { src, dst, writable, as_owner } =
            if text.contains('=') { long(text) } else { short(text) }?;
        let absolute = std::path::absolute(Path::new(src)).map_err(|_| MountError::Source(src.into()))?;
        let absolute = absolute.into_os_string().into_string();
        Ok(Mount {
            dst: dst.to_owned(),
            kind: MountKind::Bind,
            src: Some(absolute.map_err(|path| MountError::Source(path.into()))?),
            writable,
            exec: true,
            size: None,
            content: None,
            optional: false,
            as_owner: as_owner.then_some(true),
        })
    }
}

#[derive(Default)]
struct Words<'a> {
    src: &'a str,
    dst: &'a str,
    writable: bool,
    as_owner: bool,
}

fn long(text: &str) -> Result<Words<'_>, MountError> {
    let (mut src, mut dst, mut words) = (None, None, Words::default());
    for part in text.split(',') {
        match part.split_once('=') {
            Some(("src" | "source", value)) => src = Some(value),
            Some(("dst" | "target", value)) => dst = Some(value),
            None if part == "rw" => words.writable = true,
            None if part == "ro" => words.writable = false,
            None if part == "as_owner" => words.as_owner = true,
            _ => return Err(MountError::Part(part.into())),
        }
    }
    let src = src.ok_or(MountError::Missing("src="))?;
    Ok(Words { src, dst: dst.ok_or(MountError::Missing("dst="))?, ..words })
}

fn short(text: &str) -> Result<Words<'_>, MountError> {
    let parts: Vec<&str> = text.split(':').collect();
    let (src, dst, writable) = match parts.as_slice() {
        [src, dst] | [src, dst, "ro"] => (src, dst, false),
        [src, dst, "rw"] => (src, dst, true),
        _ => return Err(MountError::Form),
    };
    Ok(Words { src, dst, writable, as_owner: false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<(Option<String>, String, bool), MountError> {
        text.parse::<Mount>().map(|mount| (mount.src, mount.dst, mount.writable))
    }

    #[test]
    fn both_forms_mean_the_same() {
        let expected = |writable| Ok((Some("/data".to_owned()), "/in".to_owned(), writable));
        assert_eq!(read("/data:/in"), expected(false));
        assert_eq!(read("/data:/in:ro"), expected(false));
        assert_eq!(read("src=/data,dst=/in"), expected(false));
        assert_eq!(read("/data:/in:rw"), expected(true));
        assert_eq!(read("src=/data,dst=/in,rw"), expected(true));
        let owned: Mount = "src=/data,dst=/in,rw,as_owner".parse().unwrap();
        assert_eq!((owned.writable, owned.as_owner), (true, Some(true)));
    }

    #[test]
    fn nonsense_says_what_is_wrong() {
        for (text, error) in [
            ("", "is not HOST:GUEST[:ro|rw]"),
            ("/a:/b:/c", "is not HOST:GUEST[:ro|rw]"),
            ("src=/a", "dst= is missing"),
            ("dst=/b", "src= is missing"),
            ("src=/a,dst=/b,x", "`x` is none of src=, dst=, ro, rw, as_owner"),
            (":/b", "the host path `` cannot be made absolute"),
        ] {
            assert_eq!(read(text).unwrap_err().to_string(), error, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_path_is_taken_to_the_letter(src in "/[^,=:\0]{0,20}", dst in "[^,:\0]{0,20}", writable: bool) {
            let expected = Ok((Some(src.clone()), dst.clone(), writable));
            let flag = if writable { "rw" } else { "ro" };
            // A path that ends in a slash or holds `.` is the same path written otherwise.
            prop_assume!(std::path::absolute(&src).unwrap().as_os_str() == src.as_str());
            prop_assert_eq!(read(&format!("src={src},dst={dst},{flag}")), expected.clone());
            if !dst.contains('=') {
                prop_assert_eq!(read(&format!("{src}:{dst}:{flag}")), expected);
            }
        }

        #[test]
        fn any_text_is_a_mount_or_an_error(text in ".{0,60}") {
            if let Ok((src, _, _)) = read(&text) {
                prop_assert!(src.unwrap().starts_with('/'));
            }
        }
    }
}
