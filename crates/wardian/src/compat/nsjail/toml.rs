//! An imported config as a policy file that people can read: each line says which field it came from.

use ::toml::Value;

use super::policy::{Import, Stdio};
use crate::policy::{Mount, Policy};

/// The policy file's text. `source` names the config file it was made from.
///
/// What is no part of a policy (working directory, streams, what was left out) is said in comments.
///
/// # Errors
/// None that a policy which [`super::to_policy`] made can cause.
pub fn to_toml(import: &Import, source: &str) -> Result<String, ::toml::ser::Error> {
    let mut file = Writer(String::new());
    head(&mut file, import, source);
    general(&mut file, &import.policy)?;
    limits(&mut file, &import.policy)?;
    surroundings(&mut file, &import.policy)?;
    for mount in &import.policy.files.mounts {
        file.mount(mount)?;
    }
    Ok(file.0)
}

fn head(file: &mut Writer, import: &Import, source: &str) {
    file.comment(&format!(
        "Made from nsjail's config file {source:?}; after each line the field it came from."
    ));
    let program = match &import.command {
        Some(command) => {
            let args = command.argv.iter().skip(1).map(|word| format!(" {word:?}"));
            format!("{:?}{}", command.path, args.collect::<String>())
        }
        None => "PROGRAM ARGS".into(),
    };
    file.comment(&format!(
        "To run it: wardian run --policy FILE --cwd {:?} --exec {program} (cwd, exec_bin; paths inside).",
        import.cwd
    ));
    if import.log.file.is_some() || import.log.fd.is_some() {
        file.comment(
            "The log (log_file, log_fd) is written by `wardian run --nsjail-config` only; see --report.",
        );
    }
    match import.stdio {
        Stdio::Inherited => {}
        Stdio::StderrToNull => file.comment("Standard error is discarded (stderr_to_null): say 2>/dev/null."),
        Stdio::Null => {
            file.comment("Standard streams are discarded (silent): say </dev/null >/dev/null 2>&1.");
        }
    }
    for reason in &import.left_out {
        file.comment(&format!("Left out: {reason}"));
    }
}

fn general(file: &mut Writer, policy: &Policy) -> Result<(), ::toml::ser::Error> {
    file.0.push('\n');
    file.line("extends", "python", "")?;
    file.line("name", &policy.name, "name")?;
    file.line("description", &policy.description, "description")?;
    file.line("level", policy.level, "clone_new*")?;
    file.line("require", &policy.require, "cgroup_*")?;
    file.line("outside", policy.outside, "")?;
    file.line("network", policy.network, "iface_no_lo, clone_newnet")?;
    file.line("exec", policy.exec, "")
}

fn limits(file: &mut Writer, policy: &Policy) -> Result<(), ::toml::ser::Error> {
    let limits = &policy.limits;
    file.section("limits");
    file.line("wall", limits.wall, "time_limit")?;
    file.line("cpu_time", limits.cpu_time, "no field: nsjail has no such limit")?;
    file.maybe("cpus", limits.cpus, "max_cpus, cgroup_cpu_ms_per_sec")?;
    file.line("memory", limits.memory, "cgroup_mem_max, or rlimit_as")?;
    file.line("processes", limits.processes, "cgroup_pids_max, rlimit_nproc")?;
    file.line("disk", limits.disk, "no field: as much as memory")?;
    file.line("inodes", limits.inodes, "no field")?;
    file.line("output", limits.output, "no field: nsjail has no such limit")?;
    file.line("on_output", limits.on_output, "")?;
    file.line("open_files", limits.open_files, "rlimit_nofile")?;
    file.maybe("file_size", limits.file_size, "rlimit_fsize")?;
    file.line("stack", limits.stack, "rlimit_stack")?;
    file.line("on_oom", limits.on_oom, "")?;
    file.section("rlimits");
    file.maybe("address_space", policy.rlimits.address_space, "rlimit_as")?;
    file.maybe("cpu_time", policy.rlimits.cpu_time, "rlimit_cpu")?;
    file.maybe("locked_memory", policy.rlimits.locked_memory, "rlimit_memlock")?;
    file.maybe("message_queues", policy.rlimits.message_queues, "rlimit_msgqueue")
}

fn surroundings(file: &mut Writer, policy: &Policy) -> Result<(), ::toml::ser::Error> {
    if policy.scheduling.nice.is_some() {
        file.section("scheduling");
        file.maybe("nice", policy.scheduling.nice, "nice_level")?;
    }
    file.section("identity");
    file.line("hostname", &policy.identity.hostname, "hostname")?;
    file.line("uid", policy.identity.uid, "uidmap.inside_id")?;
    file.line("gid", policy.identity.gid, "gidmap.inside_id")?;
    file.section("environment");
    file.line("defaults", policy.environment.defaults, "")?;
    file.line("inherit", &policy.environment.inherit, "envar without a value, keep_env")?;
    file.line("hash_seed", policy.environment.hash_seed, "")?;
    file.section("environment.set");
    for (name, value) in &policy.environment.set {
        file.line(name, value, "envar")?;
    }
    file.section("files");
    file.line("root", policy.files.root, "")?;
    file.line("scratch", policy.files.scratch, "")?;
    file.line("proc", policy.files.proc, "mount_proc, mount with fstype proc")?;
    file.line("tools", &policy.files.tools, "")?;
    file.line("dev", policy.files.dev, "")?;
    // An array of tables would leave no way to say that there are none.
    if policy.files.mounts.is_empty() { file.line("mounts", &policy.files.mounts, "mount") } else { Ok(()) }
}

/// Builds the text.
struct Writer(String);

impl Writer {
    fn comment(&mut self, text: &str) {
        // A line break in a name of the config must not end the comment.
        let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        self.0.push_str(&format!("# {text}\n"));
    }

    fn section(&mut self, name: &str) {
        self.0.push_str(&format!("\n[{name}]\n"));
    }

    fn line(
        &mut self,
        key: &str,
        value: impl serde::Serialize,
        field: &str,
    ) -> Result<(), ::toml::ser::Error> {
        let value = Value::try_from(value)?;
        let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let key = match !key.is_empty() && key.chars().all(bare) {
            true => key.to_owned(),
            false => Value::from(key).to_string(),
        };
        let comment = if field.is_empty() { String::new() } else { format!("  # {field}") };
        self.0.push_str(&format!("{key} = {value}{comment}\n"));
        Ok(())
    }

    fn maybe(
        &mut self,
        key: &str,
        value: Option<impl serde::Serialize>,
        field: &str,
    ) -> Result<(), ::toml::ser::Error> {
        value.map_or(Ok(()), |value| self.line(key, value, field))
    }

    fn mount(&mut self, mount: &Mount) -> Result<(), ::toml::ser::Error> {
        self.0.push_str("\n[[files.mounts]]  # mount\n");
        self.line("dst", &mount.dst, "")?;
        self.line("type", mount.kind, "")?;
        self.maybe("src", mount.src.as_ref(), "")?;
        if mount.writable {
            self.line("writable", true, "rw")?;
        }
        if !mount.exec {
            self.line("exec", false, "noexec")?;
        }
        self.maybe("size", mount.size, "options")?;
        self.maybe("content", mount.content.as_ref(), "src_content")?;
        if let Some(as_owner) = mount.as_owner {
            self.line("as_owner", as_owner, "uidmap")?;
        }
        if mount.optional {
            self.line("optional", true, "mandatory")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::policy::{tests::caller, to_policy};
    use super::*;
    use wardian_nsjail::parse;

    fn imported(text: &str) -> (Import, String) {
        let import = to_policy(&parse(text).unwrap(), &caller()).unwrap();
        let toml = to_toml(&import, "sandbox.cfg").unwrap();
        (import, toml)
    }

    #[test]
    fn the_file_means_the_same_policy() {
        for text in [
            "",
            include_str!("../../../../wardian-nsjail/tests/fixtures/seed-nsjail.cfg"),
            include_str!("../../../../wardian-nsjail/tests/fixtures/snekbox.cfg"),
            include_str!("../../../../wardian-nsjail/tests/fixtures/every-form.cfg"),
            "nice_level: -1 max_cpus: 3 envar: 'a b.c=\"x\"\\n' envar: 'DISPLAY' hostname: \"a'b\" \
             mount { dst: '/F' src_content: 'line\\n\"quoted\"\\\\' } mount_proc: true",
        ] {
            let (import, toml) = imported(text);
            let read = crate::policy::parse(&toml, "test").unwrap_or_else(|error| panic!("{error}\n{toml}"));
            // The preset's nice value, if it has one, must not shine through either.
            assert_eq!(read, import.policy, "{toml}");
        }
    }

    #[test]
    fn it_reads_well() {
        let (_, toml) = imported(
            "name: 'demo' cwd: '/srv\\nx' time_limit: 6 stderr_to_null: true envar: 'GONE' envar: 'A=1' log_fd: 4
             exec_bin { path: '/bin/bash' arg0: 'sh' arg: '-i' }
             mount { src: '/lib' dst: '/lib' is_bind: true mandatory: false }",
        );
        assert!(
            toml.starts_with(
                "# Made from nsjail's config file \"sandbox.cfg\"; after each line the field it came from.\n\
                 # To run it: wardian run --policy FILE --cwd \"/srv\\nx\" --exec \"/bin/bash\" \"-i\" (cwd, exec_bin; paths inside).\n\
                 # The log (log_file, log_fd) is written by `wardian run --nsjail-config` only; see --report.\n\
                 # Standard error is discarded (stderr_to_null): say 2>/dev/null.\n\
                 # Left out: envar `GONE`: the caller has no such variable\n\
                 \nextends = \"python\"\nname = \"demo\"  # name\n"
            ),
            "{toml}"
        );
        assert!(toml.contains("\n[limits]\nwall = \"6s\"  # time_limit\n"), "{toml}");
        assert!(toml.contains("\n[environment.set]\nA = \"1\"  # envar\n"), "{toml}");
        assert!(
            toml.ends_with(
                "\n[[files.mounts]]  # mount\ndst = \"/lib\"\ntype = \"bind\"\nsrc = \"/lib\"\noptional = true  # mandatory\n"
            ),
            "{toml}"
        );
    }
}
