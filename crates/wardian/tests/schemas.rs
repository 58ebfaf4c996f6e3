//! The JSON schemas in docs/schema are those of the types; `WARDIAN_BLESS=1` writes them.

use std::path::Path;

fn is_written(name: &str, schema: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schema").join(name);
    let schema = format!("{schema}\n");
    if std::env::var_os("WARDIAN_BLESS").is_some() {
        std::fs::write(&path, &schema).expect("docs/schema can be written");
    }
    let written = match std::fs::read_to_string(&path) {
        Ok(written) => written,
        // The tests are also run as a user who may not read the source tree.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return,
        Err(error) => panic!("{}: {error}", path.display()),
    };
    assert!(
        written == schema,
        "docs/schema/{name} is stale: WARDIAN_BLESS=1 cargo test -p wardian --test schemas"
    );
}

#[test]
fn of_policy_files() {
    is_written("policy.json", &wardian::policy::file_schema());
}

#[test]
fn of_reports() {
    is_written("report.json", &format!("{:#}", schemars::schema_for!(wardian::report::Report).to_value()));
}
