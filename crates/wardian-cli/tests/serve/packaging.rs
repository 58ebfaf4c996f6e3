//! What the packaged units promise.

use crate::server::{Server, binary, write_config};
use std::io::Write as _;
use std::process::Command;

const UNIT: &str = include_str!("../../../../packaging/systemd/wardian.service");
const COMPOSE: &str = include_str!("../../../../packaging/docker/compose.yaml");

/// The capabilities of the unit, as `setpriv` calls them.
fn capabilities() -> Vec<String> {
    let line = UNIT.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).unwrap();
    line.split(' ').map(|name| name.strip_prefix("CAP_").unwrap().to_ascii_lowercase()).collect()
}

#[test]
fn the_image_has_the_capabilities_of_the_unit() {
    let added = COMPOSE.lines().skip_while(|line| !line.contains("cap_add:")).skip(1);
    let added = added.map_while(|line| line.trim().strip_prefix("- ")?.split(' ').next());
    let added: Vec<String> = added.map(str::to_ascii_lowercase).collect();
    assert_eq!(added, capabilities());
}

#[test]
fn those_capabilities_are_enough_and_each_is_needed() {
    let test = "those_capabilities_are_enough_and_each_is_needed";
    if !rustix::process::geteuid().is_root() || Command::new("setpriv").arg("--version").output().is_err() {
        let _ = writeln!(std::io::stderr(), "SKIP {test}: not root, or no setpriv");
        return;
    }
    let with = |capabilities: &[String]| {
        let directory = tempfile::tempdir().unwrap();
        write_config(directory.path(), "listen = [\"127.0.0.1:0\"]");
        let mut command = Command::new("setpriv");
        let bounding: String = capabilities.iter().map(|name| format!(",+{name}")).collect();
        command.args(["--no-new-privs", "--inh-caps", "-all", "--bounding-set", &format!("-all{bounding}")]);
        command.arg(binary()).args(["serve", "--config"]).arg(directory.path().join("config.toml"));
        Server::spawn(command, directory)
            .post("/v1/run", r#"{"code":"open('a','w').write('x')","collect":["*"]}"#)
            .status
    };
    let all = capabilities();
    assert_eq!(with(&all), 200);
    for without in &all {
        let rest: Vec<String> = all.iter().filter(|name| *name != without).cloned().collect();
        assert_eq!(with(&rest), 500, "{without} is not needed");
    }
}
