//! `wardian doctor` through the real binary: as root, as an ordinary user, and on hosts made poorer on purpose.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const WARDIAN: &str = env!("CARGO_BIN_EXE_wardian");
const NOBODY: &str = "65534";

/// A copy of the binary where every user can execute it.
struct Copy(PathBuf);

impl Copy {
    fn new(name: &str) -> Copy {
        let directory =
            std::env::temp_dir().join(format!("wardian-doctor-test-{}-{name}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(&directory, PermissionsExt::from_mode(0o755)).unwrap();
        fs::copy(WARDIAN, directory.join("wardian")).unwrap();
        Copy(directory)
    }

    fn binary(&self) -> PathBuf {
        self.0.join("wardian")
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The findings, and the exit code, which must agree with them.
fn examine(command: &mut Command) -> (Value, i32) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&stderr);
    let json: Value = serde_json::from_slice(&stdout).unwrap_or_else(|error| panic!("{error}: {stderr}"));
    assert_eq!(stderr, "");
    let code = status.code().unwrap();
    check_shape(&json);
    assert_eq!(code, i32::from(!json["default_policy_can_be_met"].as_bool().unwrap()));
    (json, code)
}

fn check_shape(json: &Value) {
    assert_eq!(json["schema"], "wardian.doctor/1");
    assert!(json["kernel"].is_string() && json["wardian"].is_string() && json["settings"].is_object());
    let findings = json["findings"].as_array().unwrap();
    for finding in findings {
        assert!(finding["layer"].is_string() && finding["detail"].is_string(), "{finding}");
        match finding["status"].as_str().unwrap() {
            "ok" => assert!(finding.get("fix").is_none(), "{finding}"),
            "warn" | "fail" => assert!(!finding["fix"].as_str().unwrap().is_empty(), "{finding}"),
            other => panic!("status {other}"),
        }
    }
    let failed = findings.iter().any(|finding| finding["status"] == "fail");
    assert_eq!(json["default_policy_can_be_met"], !failed);
    assert!(json["landlock_level"]["available"].is_boolean());
    assert!(!json["landlock_level"]["does_not_stop"].as_array().unwrap().is_empty());
    for python in json["pythons"].as_array().unwrap() {
        assert!(python["path"].as_str().unwrap().starts_with('/') && python["version"].is_string());
    }
}

/// The worst that was found of a layer.
fn status<'a>(json: &'a Value, layer: &str) -> &'a str {
    let of_layer = json["findings"].as_array().unwrap().iter().filter(|finding| finding["layer"] == layer);
    let all: Vec<&str> = of_layer.map(|finding| finding["status"].as_str().unwrap()).collect();
    ["fail", "warn", "ok"].into_iter().find(|status| all.contains(status)).unwrap_or("none")
}

fn doctor(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    command.args(["doctor", "--json"]).env_remove("WARDIAN_TEST_CAP");
    command
}

fn holds(json: &Value) {
    for layer in
        ["kernel", "identity", "namespaces", "sandbox", "seccomp", "denials", "containment", "python"]
    {
        assert_eq!(status(json, layer), "ok", "{layer}: {json:#}");
    }
}

#[test]
fn this_machine_meets_the_default_policy() {
    let (json, code) = examine(&mut doctor(Path::new(WARDIAN)));
    assert_eq!(code, 0);
    holds(&json);
    assert_eq!(status(&json, "codejail"), "ok", "{json:#}");
    assert!(json["pythons"][0]["default"].as_bool().unwrap());
}

#[test]
fn an_ordinary_user_meets_it_too() {
    if !is_root() {
        // Then the test above was this one.
        return;
    }
    let copy = Copy::new("user");
    let mut command = Command::new("setpriv");
    command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]).arg(copy.binary());
    command.args(["doctor", "--json"]).env_clear().env("PATH", "/usr/bin:/bin").current_dir("/");
    let (json, code) = examine(&mut command);
    assert_eq!(code, 0, "{json:#}");
    holds(&json);
    assert_eq!(status(&json, "memory"), "warn", "nobody delegates a cgroup to nobody: {json:#}");
}

#[test]
fn without_user_namespaces_it_fails_and_says_which_setting() {
    let copy = Copy::new("userns");
    let script = "echo 0 >/proc/sys/user/max_user_namespaces && exec \"$0\" doctor --json";
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "sh", "-c", script]).arg(copy.binary());
    let (json, code) = examine(command.env_remove("WARDIAN_TEST_CAP"));
    assert_eq!(code, 1);
    assert_eq!((status(&json, "namespaces"), status(&json, "sandbox")), ("fail", "fail"), "{json:#}");
    let fixes = json["findings"].as_array().unwrap().iter().filter_map(|finding| finding["fix"].as_str());
    assert!(fixes.into_iter().any(|fix| fix.contains("user.max_user_namespaces")), "{json:#}");
    let codejail = json["findings"].as_array().unwrap().iter().find(|finding| finding["layer"] == "codejail");
    if let Some(codejail) = codejail {
        assert_eq!(codejail["status"], "warn", "{json:#}");
        let by_name = codejail["fix"].as_str().unwrap().contains("CODEJAIL_LEVEL=landlock");
        assert_eq!(by_name, json["landlock_level"]["available"].as_bool().unwrap(), "{json:#}");
    }
    assert_eq!(json["settings"]["user.max_user_namespaces"], "0");
}

#[test]
fn a_masked_proc_is_seen() {
    if !is_root() {
        // Masking takes a mount of one's own, and root a namespace to make it in.
        return;
    }
    let script = "mount -t tmpfs none /proc/fs && exec \"$0\" doctor --json";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, WARDIAN]).env_remove("WARDIAN_TEST_CAP");
    let (json, code) = examine(&mut command);
    assert_eq!((status(&json, "proc"), code), ("warn", 0), "{json:#}");
}

/// The finding of a layer that is not well.
fn finding<'a>(json: &'a Value, layer: &str) -> &'a Value {
    json["findings"].as_array().unwrap().iter().find(|finding| finding["layer"] == layer).unwrap()
}

#[test]
fn root_without_capabilities_or_proc_is_told_so() {
    if !is_root() {
        return;
    }
    let capabilities = ["setpriv", "--bounding-set=-sys_admin", WARDIAN, "doctor", "--json"];
    let proc = ["unshare", "--mount", "sh", "-c", "umount -l /proc && exec \"$0\" doctor --json", WARDIAN];
    for (words, detail, fix) in [
        (&capabilities[..], "root without CAP_SYS_ADMIN", "run wardian as an ordinary user"),
        (&proc[..], "/proc does not say", "`mount -t proc proc /proc`"),
    ] {
        let mut command = Command::new(words[0]);
        let (json, code) = examine(command.args(&words[1..]).env_remove("WARDIAN_TEST_CAP"));
        let identity = finding(&json, "identity");
        assert_eq!((code, &identity["status"]), (1, &"fail".into()), "{json:#}");
        assert!(identity["detail"].as_str().unwrap().contains(detail), "{json:#}");
        assert!(identity["fix"].as_str().unwrap().contains(fix), "{json:#}");
        let sandbox = finding(&json, "sandbox");
        assert!(!sandbox["fix"].as_str().unwrap().contains("wardian doctor"), "{json:#}");
    }
}

#[test]
fn capped_features_are_missed() {
    let mut command = doctor(Path::new(WARDIAN));
    let (json, code) = examine(command.env("WARDIAN_TEST_CAP", "landlock:3,cgroup:none,notify:off"));
    assert_eq!(code, 0);
    for layer in ["landlock", "memory", "processes", "cpu time", "denials"] {
        assert_eq!(status(&json, layer), "warn", "{layer}: {json:#}");
    }
    assert_eq!(status(&json, "containment"), "ok", "{json:#}");
    assert_eq!(json["landlock_level"]["available"], false);
    assert!(json["landlock_level"]["reason"].as_str().unwrap().contains("ABI 6"), "{json:#}");
}

#[test]
fn without_python_the_sandbox_is_still_examined() {
    let mut command = doctor(Path::new(WARDIAN));
    let (json, code) = examine(command.env("PATH", "/nowhere").env_remove("VIRTUAL_ENV"));
    assert_eq!((code, status(&json, "python"), status(&json, "sandbox")), (1, "fail", "ok"), "{json:#}");
}

#[test]
fn text_has_a_fix_below_whatever_is_not_well() {
    let mut command = Command::new(WARDIAN);
    let output = command.arg("doctor").env("WARDIAN_TEST_CAP", "cgroup:none").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    for pair in lines.windows(2).filter(|pair| pair[0].starts_with("WARN") || pair[0].starts_with("FAIL")) {
        assert!(pair[1].starts_with("     FIX: "), "{text}");
    }
    assert!(text.contains("\nWARN memory       watched only: no delegated cgroup"), "{text}");
    assert!(text.contains("`--level landlock`"), "{text}");
    assert!(lines.last().unwrap().starts_with("The default policy `python` can be met here"), "{text}");
}

#[test]
fn an_unknown_cap_is_an_error_for_doctor_and_run() {
    for args in [&["doctor"][..], &["run", "-c", "pass"]] {
        let output =
            Command::new(WARDIAN).args(args).env("WARDIAN_TEST_CAP", "seccomp:off").output().unwrap();
        assert_eq!(output.status.code(), Some(125));
        assert!(String::from_utf8_lossy(&output.stderr).contains("`seccomp:off` is not a feature cap"));
    }
}

#[test]
fn a_required_layer_that_is_capped_refuses_to_run() {
    for (cap, layer) in [
        ("cgroup:none", "memory"),
        ("cgroup:none", "cpu"),
        ("cgroup:none", "processes"),
        ("landlock:1", "landlock"),
        ("notify:off", "denials"),
    ] {
        let mut command = Command::new(WARDIAN);
        command.args(["run", "--require", layer, "-c", "print('ran')"]).env("WARDIAN_TEST_CAP", cap);
        let output = command.output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*output.stdout), (Some(125), &b""[..]), "{layer}: {error}");
        assert!(error.contains(&format!("this host cannot enforce `{layer}`")), "{error}");
        assert!(error.contains("\nhint: "), "{error}");
    }
}

#[test]
fn what_is_required_and_there_does_not_hinder() {
    let output =
        Command::new(WARDIAN).args(["run", "--require", "denials", "-c", "print('ran')"]).output().unwrap();
    assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b"ran\n"[..]));
}
