//! The guest's `/etc`: made for it, nothing of the host's in it.

use super::PlanError;
use super::steps::Steps;
use crate::policy::{Network, Policy};

/// The few files that programs look for.
pub(super) fn add(policy: &Policy, steps: &mut Steps) -> Result<(), PlanError> {
    let identity = &policy.identity;
    let (uid, gid, hostname) = (identity.uid, identity.gid, &identity.hostname);
    let nobody = "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
    let guest = format!("guest:x:{uid}:{gid}:guest:{home}:/bin/sh\n", home = super::HOME);
    let root = "root:x:0:0:root:/:/usr/sbin/nologin\n";
    let passwd = match uid {
        0 => format!("root:x:0:{gid}:guest:{home}:/bin/sh\n{nobody}", home = super::HOME),
        65534 => format!("{root}{guest}"),
        _ => format!("{root}{guest}{nobody}"),
    };
    let group = match gid {
        0 => "root:x:0:\nnogroup:x:65534:\n".to_owned(),
        65534 => format!("root:x:0:\nguest:x:{gid}:\n"),
        _ => format!("root:x:0:\nguest:x:{gid}:\nnogroup:x:65534:\n"),
    };
    let hosts = format!("127.0.0.1 localhost {hostname}\n::1 localhost\n");
    // Without network asking for a name is to fail of the socket: that is what refusals then tell of. On a loopback of
    // its own the program would ask itself.
    let hosts_from = if policy.network == Network::None { "files dns" } else { "files" };
    let nsswitch = format!("passwd: files\ngroup: files\nshadow: files\nhosts: {hosts_from}\n");
    for (path, content) in [
        ("/etc/passwd", passwd.as_str()),
        ("/etc/group", group.as_str()),
        ("/etc/hosts", hosts.as_str()),
        ("/etc/hostname", &format!("{hostname}\n")),
        ("/etc/nsswitch.conf", nsswitch.as_str()),
        ("/etc/host.conf", "multi on\n"),
    ] {
        steps.file(path, 0o644, content.as_bytes())?;
    }
    Ok(())
}
