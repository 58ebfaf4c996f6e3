//! What options are called elsewhere (isolate, bubblewrap, nsjail, docker), and here: as docs/judging.md tells it.

use super::Failure;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A program's arguments may look like options, so the first word may too: a misspelt one is not taken for a program.
pub(super) fn unless_option(first: &OsStr) -> Result<(), Failure> {
    let bytes = first.as_bytes();
    if bytes.first() != Some(&b'-') || bytes == b"-" || Path::new(first).exists() {
        return Ok(());
    }
    let hint = hint(first)
        .unwrap_or_else(|| "`wardian run --help` lists the options; they stand before the program".into());
    Err(Failure::of_usage(format!("there is no option `{}`", first.display()), Some(hint)))
}

fn hint(option: &OsStr) -> Option<String> {
    let name = option.to_str()?.split('=').next()?;
    let named = |names: &[&str]| names.contains(&name);
    if let Some((_, ours)) = HERE.iter().find(|(theirs, _)| named(theirs)) {
        return Some(format!("here it is {ours}"));
    }
    if named(ALWAYS) {
        return Some("it is always so here: leave it out".into());
    }
    named(NOT_THERE).then(|| "it is not there: docs/judging.md says what is instead".into())
}

/// What else goes by one of these names elsewhere.
const HERE: &[(&[&str], &str)] = &[
    (&["--timeout", "--time-limit", "--time_limit", "--wall-time"], "`--wall`"),
    (&["--time"], "`--cpu-time`; time on the clock is `--wall`"),
    (&["--memory-limit", "--cg-mem", "--cgroup_mem_max"], "`--memory`"),
    (
        &["--mem", "--rlimit_as"],
        "`--memory`, of all processes together; `rlimits.address_space` in a policy file is of each",
    ),
    (
        &["--rlimit_cpu"],
        "`--cpu-time`, of all processes together; `rlimits.cpu_time` in a policy file is of each",
    ),
    (&["--procs", "--pids-limit", "--nproc", "--cgroup_pids_max", "--rlimit_nproc"], "`--processes`"),
    (&["--max_cpus", "--cgroup_cpu_ms_per_sec"], "`--cpus`"),
    (&["--fsize", "--rlimit_fsize"], "`--file-size`"),
    (&["--quota"], "`--disk`; `limits.inodes` in a policy file"),
    (&["--rlimit_nofile"], "`--open-files`"),
    (&["--rlimit_stack"], "`--stack`"),
    (&["--net"], "`--network`"),
    (&["--iface_no_lo"], "`--network none`"),
    (&["--meta", "--json-status-fd", "--info-fd", "--log", "--log_fd", "--verbose", "--quiet"], "`--report`"),
    (&["--silent"], "`2> FILE`"),
    (&["--stdout", "--stderr"], "`> FILE` or `2> FILE`"),
    (&["--stderr-to-stdout"], "`stderr = \"stdout\"` in a policy file"),
    (
        &["--bind", "--ro-bind", "--bindmount", "--bindmount_ro", "--volume", "--dir"],
        "`--mount src=HOST,dst=GUEST`, with `,rw` to write",
    ),
    (&["--ro-bind-try", "--bind-try"], "a mount with `optional = true` in a policy file"),
    (&["--ro-bind-data"], "a mount with `type = \"file\"` in a policy file"),
    (&["--bind-data"], "`--file`"),
    (&["--tmpfs", "--tmpfsmount", "--size"], "a mount with `type = \"tmpfs\"` in a policy file"),
    (&["--symlink"], "a mount with `type = \"symlink\"` in a policy file"),
    (&["--proc", "--disable_proc", "--proc_path"], "`files.proc` in a policy file"),
    (&["--dev"], "`files.dev` in a policy file"),
    (&["--setenv"], "`--env`"),
    (&["--keep_env"], "`environment.inherit` in a policy file"),
    (&["--chdir"], "`--cwd`"),
    (&["--chroot", "--no-default-dirs"], "`files.root = \"empty\"` in a policy file"),
    (&["--uid", "--user"], "`identity.uid` in a policy file"),
    (&["--gid", "--group"], "`identity.gid` in a policy file"),
    (&["--hostname"], "`identity.hostname` in a policy file"),
    (&["--nice_level"], "`scheduling.nice` in a policy file"),
    (&["--die-with-parent"], "`--lifeline`"),
    (&["--args"], "a policy file"),
    (&["--exec_file"], "`--exec`"),
    (&["--run"], "`--exec PROGRAM`, or a Python script as it is"),
    (&["--port"], "`wardian serve`"),
    (&["--config"], "`--nsjail-config`, for nsjail's files; `--policy`, for ours"),
];

const ALWAYS: &[&str] = &[
    "--init",
    "--cleanup",
    "--cg",
    "--unshare-all",
    "--new-session",
    "--clearenv",
    "--cap-drop",
    "--disable-userns",
    "--special-files",
    "--tty-hack",
    "--remount-ro",
];

const NOT_THERE: &[&str] = &[
    "--extra-time",
    "--core",
    "--full-env",
    "--inherit-fds",
    "--share-net",
    "--dev-bind",
    "--perms",
    "--chmod",
    "--mqueue",
    "--seccomp",
    "--add-seccomp-fd",
    "--cap-add",
    "--userns",
    "--pidns",
    "--as-pid-1",
    "--block-fd",
    "--sync-fd",
    "--lock-file",
    "--daemon",
    "--rw",
    "--rlimit_core",
    "--disable_rlimits",
    "--disable_clone_newnet",
    "--macvlan_iface",
    "--iface_own",
    "--seccomp_policy",
    "--seccomp_string",
    "--keep_caps",
    "--cap",
    "--disable_no_new_privs",
    "--pass_fd",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::CommandFactory;

    const DOCUMENT: &str = include_str!("../../../../docs/judging.md");

    /// The rows of the tables about options: their column, and ours.
    fn rows() -> Vec<(&'static str, &'static str)> {
        let chapters = DOCUMENT.split("\n## ").filter(|chapter| chapter.starts_with("From "));
        let rows = chapters.flat_map(str::lines).filter_map(|line| {
            let (theirs, ours) = line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | ")?;
            theirs.contains("`--").then_some((theirs, ours))
        });
        rows.collect()
    }

    /// The options that a cell names, without values.
    fn options(cell: &str) -> impl Iterator<Item = &str> {
        let words = cell.split('`').skip(1).step_by(2).flat_map(str::split_whitespace);
        let names = words.filter_map(|word| word.split('=').next());
        names.filter(|name| name.starts_with("--") && name.len() > 2 && !name.ends_with('*'))
    }

    fn is_ours(name: &str) -> bool {
        let cli = Cli::command();
        let run = cli.find_subcommand("run").unwrap();
        run.get_arguments().any(|arg| {
            let long = arg.get_long().into_iter().chain(arg.get_all_aliases().into_iter().flatten());
            long.into_iter().any(|long| name.strip_prefix("--") == Some(long))
        })
    }

    #[test]
    fn the_document_says_the_same() {
        let rows = rows();
        assert!(rows.len() > 60, "{}", rows.len());
        for (theirs, _) in &rows {
            for name in options(theirs).filter(|name| !is_ours(name)) {
                let said = hint(name.as_ref()).unwrap_or_else(|| panic!("no hint for {name}"));
                let cells = || rows.iter().filter(|(theirs, _)| options(theirs).any(|option| option == name));
                let not_there = cells().all(|(_, ours)| ours.starts_with("not there"));
                assert_eq!(said.starts_with("it is not there"), not_there, "{name}: {said}");
                for ours in options(&said).filter(|ours| is_ours(ours)) {
                    let told = |cell: &str| options(cell).any(|option| option == ours);
                    let key = ours.trim_start_matches("--").replace('-', "_");
                    let is_told =
                        cells().any(|(_, cell)| told(cell) || cell.contains(&key) || cell.contains("mount"));
                    assert!(is_told, "{name}: {said}");
                }
            }
        }
    }

    #[test]
    fn every_option_of_ours_in_a_hint_is_there() {
        for (theirs, ours) in HERE {
            assert!(theirs.iter().all(|name| !is_ours(name)), "{theirs:?}");
            assert!(options(ours).all(is_ours), "{ours}");
        }
    }
}
