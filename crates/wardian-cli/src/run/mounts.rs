//! `--mount` and `--file` values.

use super::Failure;
use std::path::PathBuf;
use wardian::policy::{Mount, MountKind};

/// `src=HOST,dst=GUEST[,rw]` or `HOST:GUEST[:ro|rw]`.
pub(super) fn parse(text: &str) -> Result<Mount, Failure> {
    let wrong = |why: &str| {
        let hint = "write src=HOST,dst=GUEST[,rw], or HOST:GUEST[:ro|rw] where no path has a colon";
        Failure::new(format!("`--mount {text}`: {why}"), Some(hint.into()))
    };
    let (src, dst, writable) =
        if text.contains('=') { long(text) } else { short(text) }.map_err(|why| wrong(&why))?;
    let src = std::path::absolute(&src).map_err(|error| wrong(&error.to_string()))?;
    let src = src.into_os_string().into_string().map_err(|_| wrong("the host path is not UTF-8"))?;
    Ok(Mount {
        dst,
        kind: MountKind::Bind,
        src: Some(src),
        writable,
        exec: true,
        size: None,
        content: None,
        optional: false,
    })
}

fn long(text: &str) -> Result<(PathBuf, String, bool), String> {
    let (mut src, mut dst, mut writable) = (None, None, false);
    for part in text.split(',') {
        match part.split_once('=') {
            Some(("src" | "source", value)) => src = Some(PathBuf::from(value)),
            Some(("dst" | "target", value)) => dst = Some(value.to_owned()),
            None if part == "rw" => writable = true,
            None if part == "ro" => writable = false,
            _ => return Err(format!("`{part}` is none of src=, dst=, ro, rw")),
        }
    }
    match (src, dst) {
        (Some(src), Some(dst)) => Ok((src, dst, writable)),
        (None, _) => Err("src= is missing".into()),
        (_, None) => Err("dst= is missing".into()),
    }
}

fn short(text: &str) -> Result<(PathBuf, String, bool), String> {
    let parts: Vec<&str> = text.split(':').collect();
    match parts.as_slice() {
        [src, dst] | [src, dst, "ro"] => Ok((src.into(), (*dst).to_owned(), false)),
        [src, dst, "rw"] => Ok((src.into(), (*dst).to_owned(), true)),
        _ => Err("is not HOST:GUEST[:ro|rw]".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_mean_the_same() {
        let read = |text: &str| parse(text).ok().map(|mount| (mount.src, mount.dst, mount.writable));
        let expected = |writable| Some((Some("/data".to_owned()), "/in".to_owned(), writable));
        assert_eq!(read("/data:/in"), expected(false));
        assert_eq!(read("/data:/in:ro"), expected(false));
        assert_eq!(read("src=/data,dst=/in"), expected(false));
        assert_eq!(read("/data:/in:rw"), expected(true));
        assert_eq!(read("src=/data,dst=/in,rw"), expected(true));
    }

    #[test]
    fn nonsense_says_what_is_wrong() {
        for text in ["", "/data", "/a:/b:/c", "/a:/b:xx", "src=/a", "dst=/b", "src=/a,dst=/b,x"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
