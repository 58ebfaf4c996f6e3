//! The kernel's release.

use crate::host::examination::Finding;

/// `mount_setattr`, Landlock, `cgroup.kill` and notifications with `pidfd_getfd` are all there since.
const OLDEST: (u32, u32) = (5, 15);

pub(super) fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Only a warning: whether the layers hold is shown by the other probes.
pub(super) fn finding() -> Finding {
    of_release(&release())
}

fn of_release(release: &str) -> Finding {
    let detail = format!("Linux {release}, {}", std::env::consts::ARCH);
    if numbers(release).is_some_and(|numbers| numbers >= OLDEST) {
        return Finding::ok("kernel", detail);
    }
    let (major, minor) = OLDEST;
    Finding::warn(
        "kernel",
        format!("{detail}: older than {major}.{minor}"),
        format!("Linux {major}.{minor} or later; wardian is not tested on older ones"),
    )
}

/// Major and minor number of `6.1.0-18-amd64`.
fn numbers(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Status;

    #[test]
    fn releases_compare_by_number() {
        for release in ["5.15.0-generic", "6.1.0-18-amd64", "10.0", "6.18"] {
            assert_eq!(of_release(release).status, Status::Ok, "{release}");
        }
        for release in ["5.4.0-150-generic", "4.18.0-513.el8.x86_64", "strange"] {
            assert_eq!(of_release(release).status, Status::Warn, "{release}");
        }
    }
}
