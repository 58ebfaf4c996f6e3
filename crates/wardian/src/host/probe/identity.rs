//! As whom we run, and which ids sandboxes get.

use crate::host::Privilege;
use crate::host::examination::Finding;
use crate::host::refused;
use crate::policy;
use std::fs;

pub(super) fn finding(privilege: Privilege) -> Finding {
    match privilege {
        Privilege::User => {
            let uid = rustix::process::geteuid().as_raw();
            Finding::ok(
                "identity",
                format!("ordinary user {uid}; guests run under this id, in their own user namespace"),
            )
        }
        Privilege::Root => {
            if let Some(fix) = refused::wrong_proc() {
                return Finding::fail(
                    "identity",
                    "root, but whose ids are mapped here, /proc does not say",
                    fix,
                );
            }
            let missing = refused::missing_capabilities();
            if let Some(fix) = refused::lacking(&missing) {
                return Finding::fail("identity", format!("root without {}", missing.join(", ")), fix);
            }
            // The preset is our own text, and valid: a test of it says so.
            let (first, count) = policy::preset("python").map_or((0, 0), |python| python.identity.uid_range);
            let map = |file| fs::read_to_string(file).unwrap_or_default();
            root(first, count, &map("/proc/self/uid_map"), &map("/proc/self/gid_map"))
        }
    }
}

fn root(first: u32, count: u32, uid_map: &str, gid_map: &str) -> Finding {
    let last = u64::from(first) + u64::from(count);
    for (map, ids) in [(uid_map, "uids"), (gid_map, "gids")] {
        if !ranges(map).any(|(start, len)| start <= u64::from(first) && last <= start + len) {
            let largest = ranges(map).max_by_key(|(_, len)| *len);
            let fix = match largest {
                Some((start, len)) if len > 2 => format!(
                    "set `uid_range` under [identity] in the policy to two or more {ids} that are mapped here \
                     and unused: within {start}..{}",
                    start + len
                ),
                _ => "run wardian as an ordinary user, or map more ids into this container".to_owned(),
            };
            return Finding::fail(
                "identity",
                format!("root, but the {ids} {first}..{last} for sandboxes are not in our own id map"),
                fix,
            );
        }
    }
    Finding::ok("identity", format!("root; every sandbox gets two host ids of its own, from {first}..{last}"))
}

/// First id and count of each line of an id map, as seen inside (user_namespaces(7)).
fn ranges(map: &str) -> impl Iterator<Item = (u64, u64)> {
    map.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let first = words.next()?.parse().ok()?;
        let _outside = words.next()?;
        Some((first, words.next()?.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Status;

    const WHOLE: &str = "         0          0 4294967295\n";
    const CONTAINER: &str = "         0     100000      65536\n";

    #[test]
    fn the_range_must_be_mapped_for_users_and_groups() {
        assert_eq!(root(2_000_000_000, 131_072, WHOLE, WHOLE).status, Status::Ok);
        assert_eq!(root(10_000, 1000, CONTAINER, CONTAINER).status, Status::Ok);
        for (uids, gids) in [(CONTAINER, WHOLE), (WHOLE, CONTAINER), (WHOLE, "")] {
            assert_eq!(root(2_000_000_000, 131_072, uids, gids).status, Status::Fail);
        }
    }

    #[test]
    fn a_container_is_told_which_ids_it_has() {
        let fix = root(2_000_000_000, 2, CONTAINER, CONTAINER).fix.unwrap();
        assert!(fix.contains("within 0..65536"), "{fix}");
        let fix = root(2_000_000_000, 2, "0 1000 1\n", "0 1000 1\n").fix.unwrap();
        assert!(fix.contains("ordinary user"), "{fix}");
    }
}
