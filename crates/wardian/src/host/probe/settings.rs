//! Kernel settings that switch off what wardian needs: they explain a failure, they never stand for a probe.

use std::collections::BTreeMap;
use std::fs;

/// Debian's switch.
pub(super) const USERNS_CLONE: &str = "kernel.unprivileged_userns_clone";
/// Everybody's limit.
pub(super) const MAX_USERNS: &str = "user.max_user_namespaces";
/// Ubuntu's switch: user namespaces can be made, and then nothing mounted inside.
pub(super) const APPARMOR: &str = "kernel.apparmor_restrict_unprivileged_userns";
/// 2: no memfd can be executed.
pub(super) const MEMFD_NOEXEC: &str = "vm.memfd_noexec";

const ALL: [&str; 11] = [
    USERNS_CLONE,
    MAX_USERNS,
    "user.max_pid_namespaces",
    "user.max_net_namespaces",
    "user.max_mnt_namespaces",
    "user.max_ipc_namespaces",
    "user.max_uts_namespaces",
    "user.max_cgroup_namespaces",
    APPARMOR,
    MEMFD_NOEXEC,
    // Only told: the filter refuses TIOCSTI wherever it is.
    "dev.tty.legacy_tiocsti",
];

/// The settings that exist here.
pub(super) struct Settings(BTreeMap<String, String>);

impl Settings {
    pub(super) fn read() -> Settings {
        let read = |name: &str| fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))).ok();
        let there = ALL.iter().filter_map(|name| {
            let value = read(name)?;
            Some(((*name).to_owned(), value.trim().to_owned()))
        });
        Settings(there.collect())
    }

    pub(super) fn into_map(self) -> BTreeMap<String, String> {
        self.0
    }

    /// Whether a setting is there and says so.
    pub(super) fn says(&self, name: &str, value: &str) -> bool {
        self.0.get(name).is_some_and(|have| have == value)
    }

    /// What to do where a namespace is refused with this error number.
    pub(super) fn namespace_fix(&self, max: &str) -> String {
        if self.says(max, "0") {
            return format!("sudo sysctl -w {max}=15000, and the same in /etc/sysctl.d");
        }
        if self.says(USERNS_CLONE, "0") {
            return format!("sudo sysctl -w {USERNS_CLONE}=1, and the same in /etc/sysctl.d");
        }
        if self.says(APPARMOR, "1") {
            return apparmor_fix();
        }
        "in a container: allow clone3 with CLONE_NEW* flags in its seccomp profile; in a chroot: start wardian outside; \
         elsewhere: a kernel with CONFIG_USER_NS, PID_NS, NET_NS, IPC_NS, UTS_NS"
            .into()
    }

    /// What to do where namespaces are made, and mounting inside is refused.
    pub(super) fn mount_fix(&self) -> Option<String> {
        self.says(APPARMOR, "1").then(apparmor_fix)
    }

    #[cfg(test)]
    pub(super) fn of(values: &[(&str, &str)]) -> Settings {
        Settings(values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }
}

fn apparmor_fix() -> String {
    let here = std::env::current_exe().map_or("this binary".to_owned(), |path| path.display().to_string());
    format!(
        "sudo install -m 644 packaging/apparmor/wardian /etc/apparmor.d/wardian && \
         sudo apparmor_parser -r /etc/apparmor.d/wardian (the profile must name {here})"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_that_is_off_is_the_one_to_change() {
        let fix = |values: &[(&str, &str)]| Settings::of(values).namespace_fix(MAX_USERNS);
        assert!(fix(&[(MAX_USERNS, "0"), (USERNS_CLONE, "1")]).contains("user.max_user_namespaces=15000"));
        assert!(fix(&[(MAX_USERNS, "9"), (USERNS_CLONE, "0")]).contains("unprivileged_userns_clone=1"));
        assert!(fix(&[(APPARMOR, "1")]).contains("packaging/apparmor/wardian"));
        assert!(fix(&[]).contains("seccomp profile"));
    }

    #[test]
    fn apparmor_explains_mounts_only_where_it_restricts() {
        assert!(Settings::of(&[(APPARMOR, "1")]).mount_fix().is_some());
        assert!(Settings::of(&[(APPARMOR, "0")]).mount_fix().is_none());
        assert!(Settings::of(&[]).mount_fix().is_none());
    }

    #[test]
    fn this_machine_has_settings() {
        assert!(Settings::read().into_map().contains_key(MAX_USERNS));
    }
}
