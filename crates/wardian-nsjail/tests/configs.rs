//! Whole config files, in both forms.

use wardian_nsjail::{LogLevel, Mode, NsjailConfig, RLimit, parse};

const SEED: &str = include_str!("fixtures/seed-nsjail.cfg");
const SEED_JSON: &str = include_str!("fixtures/seed-nsjail.json");
const SNEKBOX: &str = include_str!("fixtures/snekbox.cfg");
const EVERY_FORM: &str = include_str!("fixtures/every-form.cfg");

#[test]
fn the_seed_config_sets_what_it_says() {
    let config = parse(SEED).unwrap();
    assert_eq!(config.set_fields().len(), 26);
    assert_eq!(config.mode(), Mode::Once);
    assert_eq!((config.hostname(), config.cwd(), config.time_limit()), ("sandbox", "/sandbox", 6));
    assert_eq!((config.rlimit_as(), config.rlimit_as_type()), (700, RLimit::Value));
    assert_eq!((config.cgroup_mem_max(), config.cgroup_pids_max()), (52_428_800, 1));
    assert_eq!(config.envar.len(), 8);
    assert_eq!(config.mount.len(), 11);
    assert!(config.mount.iter().all(|mount| mount.is_bind() && !mount.rw() && mount.mandatory()));
    assert_eq!((config.mount[6].src(), config.mount[6].dst()), ("/usr/bin/python", "/usr/local/bin/python"));
    assert_eq!((config.uidmap[0].inside_id(), config.gidmap[0].count()), ("65534", 1));
    assert_eq!(config.exec_bin, None);
}

#[test]
fn the_json_form_reads_the_same() {
    assert_eq!(parse(SEED_JSON).unwrap(), parse(SEED).unwrap());
}

#[test]
fn a_snekbox_config_reads() {
    let config = parse(SNEKBOX).unwrap();
    assert_eq!(config.rlimit_fsize_type(), RLimit::Inf);
    assert_eq!((config.cgroup_mem_max(), config.cgroup_mem_swap_max()), (73_400_320, 0));
    let shm = &config.mount[7];
    assert_eq!((shm.dst(), shm.fstype(), shm.options(), shm.rw()), ("/dev/shm", "tmpfs", "size=40m", true));
    assert!(!config.mount[6].mandatory());
}

#[test]
fn every_form_of_the_text_format_reads() {
    let config = parse(EVERY_FORM).unwrap();
    assert_eq!(config.description, ["first line, ", "second line"]);
    assert_eq!(config.envar[2], r"PS1=[\H:\t:\s-\V:\w]\$ ");
    assert_eq!(config.cap, ["CAP_NET_ADMIN", "CAP_NET_RAW"]);
    assert_eq!((config.log_level, config.oom_score_adj), (Some(LogLevel::Warning), Some(-500)));
    assert_eq!(config.gidmap[0].outside_id(), "www-data");
    assert_eq!(config.mount[2].src_content.as_deref(), Some(b"generated\n".as_slice()));
    let exec = config.exec_bin.as_ref().unwrap();
    assert_eq!((exec.path(), exec.arg0.as_deref(), exec.exec_fd()), ("/bin/bash", Some("sh"), true));
    assert_eq!(config.user_net.as_ref().unwrap()["pasta"]["tcp_map_in"], "9999");
    assert!(config.changed_fields().iter().all(|field| NsjailConfig::FIELDS.contains(field)));
    assert!(!config.changed_fields().contains(&"mode"));
}
