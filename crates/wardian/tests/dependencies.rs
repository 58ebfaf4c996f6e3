//! The engine's dependencies are the written list of CONTRIBUTING.md, and nothing else.

const ALLOWED: [&str; 13] = [
    "base64",
    "globset",
    "infer",
    "rustix",
    "schemars",
    "serde",
    "serde_json",
    "sha2",
    "thiserror",
    "toml",
    "wardian-init",
    "wardian-nsjail",
    "wardian-sys",
];

#[test]
fn the_engine_depends_on_what_is_written_and_no_more() {
    let manifest: toml::Table = include_str!("../Cargo.toml").parse().unwrap();
    let dependencies = manifest["dependencies"].as_table().unwrap();
    let unexpected: Vec<_> = dependencies.keys().filter(|name| !ALLOWED.contains(&name.as_str())).collect();
    assert!(unexpected.is_empty(), "not in the list of CONTRIBUTING.md: {unexpected:?}");
    let contributing = include_str!("../../../CONTRIBUTING.md");
    for name in dependencies.keys().filter(|name| !name.starts_with("wardian-")) {
        assert!(contributing.contains(&format!("`{name}`")), "CONTRIBUTING.md does not name {name}");
    }
}
