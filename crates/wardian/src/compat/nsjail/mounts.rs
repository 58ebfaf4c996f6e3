//! nsjail's mounts as wardian's.

use wardian_nsjail::MountPt;

use crate::policy::{Bytes, Mount, MountKind};

/// Device files that hold no state of the host: the only ones that can be mounted.
const SAFE_DEVICES: [&str; 5] = ["/dev/full", "/dev/null", "/dev/random", "/dev/urandom", "/dev/zero"];

/// What became of one mount.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Translated {
    /// This, in wardian's words.
    Mount(Mount),
    /// It need not be there, and cannot be.
    LeftOut(String),
    /// It must be there, and cannot be.
    Failed(String),
}

/// What wardian cannot honour in a mount, whatever machine it runs on.
pub(super) fn problem(mount: &MountPt) -> Option<String> {
    let Some(kind) = kind(mount) else {
        return Some(format!(
            "file system type `{}` is not mounted; bind mounts, tmpfs, proc, links and content are",
            mount.fstype()
        ));
    };
    if mount.dst() == "/" && mount.rw() {
        return Some(
            "the root itself is read-only; name the directories to be written, each with `rw`".into(),
        );
    }
    if let (MountKind::Tmpfs | MountKind::Proc, Some(false)) | (MountKind::File, Some(true)) =
        (kind, mount.is_dir)
    {
        return Some(is_dir_problem(kind != MountKind::File));
    }
    let over_proc = mount.dst() == "/proc" || mount.dst().starts_with("/proc/");
    if over_proc && kind != MountKind::Proc && mount.mandatory() {
        return Some("nothing is mounted over /proc".into());
    }
    match kind {
        MountKind::Bind => bind_problem(mount),
        MountKind::Tmpfs => tmpfs_size(mount.options()).err(),
        MountKind::Proc if mount.dst() != "/proc" => Some("proc is mounted at /proc only".into()),
        MountKind::Proc if mount.rw() => Some("proc is mounted read-only; drop `rw`".into()),
        MountKind::File if mount.rw() => {
            Some("a file made from `src_content` is read-only; drop `rw`".into())
        }
        MountKind::File if content(mount).is_none() => Some("`src_content` is not UTF-8".into()),
        MountKind::Proc | MountKind::File | MountKind::Symlink => no_options(mount),
    }
}

fn is_dir_problem(is_directory: bool) -> String {
    let (what, value) = if is_directory { ("a directory", true) } else { ("no directory", false) };
    format!("what is mounted is {what}; drop `is_dir`, or say {value}")
}

fn bind_problem(mount: &MountPt) -> Option<String> {
    // A prefix from the environment makes any path of it, which is judged when it is known.
    let source = mount.prefix_src_env().is_empty().then(|| source_problem(mount.src())).flatten();
    source.or_else(|| no_options(mount))
}

fn source_problem(src: &str) -> Option<String> {
    if src.trim_end_matches('/').is_empty() {
        return Some("the host's whole file system is not given away; name the directories".into());
    }
    if is_below(src, "/proc") {
        return Some("the host's /proc is not given away; use `fstype: \"proc\"`".into());
    }
    if is_below(src, "/dev") && !SAFE_DEVICES.contains(&src) {
        return Some(format!("of /dev only {} are given", SAFE_DEVICES.join(", ")));
    }
    None
}

fn no_options(mount: &MountPt) -> Option<String> {
    (!mount.options().is_empty()).then(|| {
        format!("mount options `{}` are not applied here; only tmpfs takes `size=`", mount.options())
    })
}

fn is_below(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The mount in wardian's words; `environment` looks up the caller's variables for the prefixes.
pub(super) fn translate(mount: &MountPt, environment: &dyn Fn(&str) -> Option<String>) -> Translated {
    let give_up = |why: String| match mount.mandatory() {
        true => Translated::Failed(why),
        false => Translated::LeftOut(why),
    };
    let prefixed = |variable: &str, path: &str| match variable {
        "" => Ok(path.to_owned()),
        _ => environment(variable)
            .map(|prefix| prefix + path)
            .ok_or_else(|| format!("the caller has no environment variable `{variable}`")),
    };
    let (src, dst) = match (
        prefixed(mount.prefix_src_env(), mount.src()),
        prefixed(mount.prefix_dst_env(), mount.dst()),
    ) {
        (Ok(src), Ok(dst)) => (src, dst),
        (Err(why), _) | (_, Err(why)) => return give_up(why),
    };
    // By whatever name and link it is reached.
    let real = std::fs::canonicalize(&src).ok().and_then(|real| real.into_os_string().into_string().ok());
    if let (Some(MountKind::Bind), Some(real)) = (kind(mount), real)
        && let Some(problem) = source_problem(&real)
    {
        return give_up(format!("`{src}`: {problem}"));
    }
    if let (Some(MountKind::Bind), Some(wanted)) = (kind(mount), mount.is_dir) {
        let is_directory = std::fs::metadata(&src).map(|found| found.is_dir());
        if is_directory.is_ok_and(|is_directory| is_directory != wanted) {
            return give_up(format!("`{src}`: {}", is_dir_problem(!wanted)));
        }
    }
    let dst = if dst.len() > 1 { dst.trim_end_matches('/').to_owned() } else { dst };
    let Some(kind) = kind(mount) else { return give_up(format!("file system type `{}`", mount.fstype())) };
    if kind == MountKind::Proc && dst != "/proc" {
        return give_up("proc is mounted at /proc only".into());
    }
    if is_below(&dst, "/proc") && kind != MountKind::Proc {
        return give_up("nothing is mounted over /proc".into());
    }
    let size = match kind {
        MountKind::Tmpfs => match tmpfs_size(mount.options()) {
            Ok(size) => size,
            Err(why) => return give_up(why),
        },
        _ => None,
    };
    let has_source = matches!(kind, MountKind::Bind | MountKind::Symlink);
    let changeable = matches!(kind, MountKind::Bind | MountKind::Tmpfs);
    Translated::Mount(Mount {
        dst,
        kind,
        src: has_source.then_some(src),
        writable: changeable && mount.rw(),
        exec: !(changeable && mount.noexec()),
        size,
        content: if kind == MountKind::File { content(mount).map(str::to_owned) } else { None },
        optional: kind == MountKind::Bind && !mount.mandatory(),
        // nsjail's program has the rights of its id outside, whosever the mount is.
        as_owner: (kind == MountKind::Bind && mount.rw()).then_some(false),
    })
}

/// What the mount makes, in the order in which nsjail decides.
pub(super) fn kind(mount: &MountPt) -> Option<MountKind> {
    if mount.is_symlink() {
        return Some(MountKind::Symlink);
    }
    if mount.src_content.as_ref().is_some_and(|content| !content.is_empty()) {
        return Some(MountKind::File);
    }
    if mount.is_bind() {
        return Some(MountKind::Bind);
    }
    match mount.fstype() {
        "tmpfs" => Some(MountKind::Tmpfs),
        "proc" => Some(MountKind::Proc),
        _ => None,
    }
}

fn content(mount: &MountPt) -> Option<&str> {
    std::str::from_utf8(mount.src_content.as_deref()?).ok()
}

/// The size among a tmpfs's options, which tmpfs(5) takes with `k`, `m` or `g`.
fn tmpfs_size(options: &str) -> Result<Option<Bytes>, String> {
    let mut size = None;
    // The mode a tmpfs has anyway.
    for option in options.split(',').filter(|option| !option.is_empty() && *option != "mode=1777") {
        let value = option
            .strip_prefix("size=")
            .ok_or_else(|| format!("tmpfs option `{option}` is not applied; only `size=` is"))?;
        let digits = value.trim_end_matches(['k', 'K', 'm', 'M', 'g', 'G']);
        let well_formed = value.len() - digits.len() <= 1 && digits.bytes().all(|byte| byte.is_ascii_digit());
        let parsed = value.parse().ok().filter(|size: &Bytes| well_formed && size.0 > 0);
        size = Some(parsed.ok_or_else(|| format!("tmpfs size `{value}` is not a number of bytes above 0"))?);
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wardian_nsjail::parse;

    fn mount(text: &str) -> MountPt {
        parse(&format!("mount {{ {text} }}")).unwrap().mount.remove(0)
    }

    fn translated(text: &str) -> Mount {
        assert_eq!(problem(&mount(text)), None, "{text}");
        match translate(&mount(text), &|name| (name == "HOME").then(|| "/home/me".to_owned())) {
            Translated::Mount(mount) => mount,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn every_kind_is_translated() {
        let bind = translated("src: '/lib' dst: '/lib' is_bind: true rw: true noexec: true mandatory: false");
        assert_eq!((bind.kind, bind.src.as_deref()), (MountKind::Bind, Some("/lib")));
        assert_eq!((bind.writable, bind.exec, bind.optional), (true, false, true));
        let tmpfs = translated("dst: '/tmp/' fstype: 'tmpfs' options: 'size=40m,mode=1777'");
        assert_eq!(
            (tmpfs.kind, tmpfs.size, tmpfs.writable),
            (MountKind::Tmpfs, Some(Bytes(40 << 20)), false)
        );
        assert_eq!(
            translated("dst: '/t' fstype: 'tmpfs' options: 'size=8388608'").size,
            Some(Bytes(8 << 20))
        );
        let file = translated("dst: '/F' src_content: 'hi'");
        assert_eq!((file.kind, file.content.as_deref(), file.src), (MountKind::File, Some("hi"), None));
        let link = translated("dst: '/dev/fd' src: '/proc/self/fd' is_symlink: true");
        assert_eq!((link.kind, link.src.as_deref()), (MountKind::Symlink, Some("/proc/self/fd")));
        assert_eq!(translated("dst: '/proc' fstype: 'proc'").kind, MountKind::Proc);
        assert_eq!(translated("src: '/dev/null' dst: '/dev/null' is_bind: true").kind, MountKind::Bind);
    }

    #[test]
    fn prefixes_come_from_the_callers_environment() {
        let mount_with = |rest: &str| mount(&format!("src: '/d' dst: '/d' is_bind: true {rest}"));
        let home = translate(&mount_with("prefix_src_env: 'HOME'"), &|_| Some("/home/me".to_owned()));
        let Translated::Mount(home) = home else { panic!("{home:?}") };
        assert_eq!((home.src.as_deref(), home.dst.as_str()), (Some("/home/me/d"), "/d"));
        let missing = translate(&mount_with("prefix_dst_env: 'NO'"), &|_| None);
        assert!(matches!(missing, Translated::Failed(why) if why.contains("`NO`")));
        let proc =
            translate(&mount("dst: '/proc' fstype: 'proc' prefix_dst_env: 'X'"), &|_| Some("/x".to_owned()));
        assert!(matches!(proc, Translated::Failed(why) if why.contains("/proc only")));
        let optional = translate(&mount_with("prefix_dst_env: 'NO' mandatory: false"), &|_| None);
        assert!(matches!(optional, Translated::LeftOut(_)));
    }

    #[test]
    fn is_dir_must_be_true_of_what_is_bound() {
        let bind = |rest: &str| translate(&mount(&format!("dst: '/d' is_bind: true {rest}")), &|_| None);
        for right in
            ["src: '/usr' is_dir: true", "src: '/dev/null' is_dir: false", "src: '/no/such' is_dir: true"]
        {
            assert!(matches!(bind(right), Translated::Mount(_)), "{right}");
        }
        for (wrong, why) in [
            ("src: '/usr' is_dir: false", "`/usr`: what is mounted is a directory"),
            ("src: '/dev/null' is_dir: true", "`/dev/null`: what is mounted is no directory"),
        ] {
            let Translated::Failed(said) = bind(wrong) else { panic!("{wrong} is accepted") };
            assert!(said.starts_with(why), "{said}");
        }
    }

    #[test]
    fn what_cannot_be_honoured_is_said() {
        for (text, word) in [
            ("dst: '/s' fstype: 'sysfs'", "`sysfs`"),
            ("dst: '/s'", "``"),
            ("dst: '/proc/x' src: '/a' is_bind: true", "over /proc"),
            ("dst: '/p' src: '/proc' is_bind: true", "the host's /proc"),
            ("dst: '/' src: '/' is_bind: true", "whole file system"),
            ("dst: '/dev' src: '/dev' is_bind: true", "/dev/urandom"),
            ("dst: '/k' src: '/dev/kvm' is_bind: true", "/dev/urandom"),
            ("dst: '/l' src: '/lib' is_bind: true options: 'nosuid'", "`nosuid`"),
            ("dst: '/t' fstype: 'tmpfs' options: 'size=1m,mode=777'", "`mode=777`"),
            ("dst: '/t' fstype: 'tmpfs' options: 'size=50%'", "`50%`"),
            ("dst: '/t' fstype: 'tmpfs' options: 'size=0'", "`0`"),
            ("dst: '/proc' fstype: 'proc' rw: true", "read-only"),
            ("dst: '/p' fstype: 'proc'", "at /proc only"),
            ("dst: '/f' src_content: 'x' rw: true", "read-only"),
            ("dst: '/f' src_content: '\\377'", "UTF-8"),
            ("dst: '/' src: '/srv' is_bind: true rw: true", "the root itself is read-only"),
            ("dst: '/' fstype: 'tmpfs' rw: true", "the root itself is read-only"),
            ("dst: '/t' fstype: 'tmpfs' is_dir: false", "is a directory"),
            ("dst: '/proc' fstype: 'proc' is_dir: false", "is a directory"),
            ("dst: '/f' src_content: 'x' is_dir: true", "no directory"),
        ] {
            let problem = problem(&mount(text)).unwrap_or_else(|| panic!("{text} is accepted"));
            assert!(problem.contains(word), "{text}: {problem}");
        }
        assert_eq!(problem(&mount("src: '/a' dst: '/proc/no' is_symlink: true mandatory: false")), None);
    }
}
