//! Compiles `wardian-init`, the static helper without a C library, so that it can be embedded.
//!
//! Cargo cannot yet give one crate the binary of another, so the compiler is called directly: two small
//! libraries without dependencies and a three-line binary.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let crates = Path::new(&variable("CARGO_MANIFEST_DIR")).join("..");
    let out = PathBuf::from(variable("OUT_DIR"));
    for watched in ["wardian-sys/src", "wardian-init/src", "wardian-init/entry.rs", "wardian-init/zygote.rs"]
    {
        println!("cargo::rerun-if-changed={}", crates.join(watched).display());
    }
    let library = |out: &Path, name: &str, model: &str, uses: &[&str]| {
        let source = crates.join(name).join("src/lib.rs");
        compile(out, &source, &name.replace('-', "_"), &["--crate-type=rlib", model], uses);
    };
    library(&out, "wardian-sys", STATIC, &[]);
    library(&out, "wardian-init", STATIC, &["wardian_sys"]);
    let link = [
        "--crate-type=bin",
        STATIC,
        "-Clink-arg=-nostartfiles",
        "-Clink-arg=-nostdlib",
        "-Clink-arg=-static",
        "-Clink-arg=-no-pie",
        "-Clink-arg=-Wl,--build-id=none,-z,norelro,-z,noexecstack,--gc-sections",
        "-Cstrip=symbols",
    ];
    compile(
        &out,
        &crates.join("wardian-init/entry.rs"),
        "wardian_init_binary",
        &link,
        &["wardian_sys", "wardian_init"],
    );
    // The same code once more, for the zygote: a shared object that a Python process loads.
    let shared = out.join("shared");
    std::fs::create_dir_all(&shared).unwrap_or_else(|e| panic!("cannot make {}: {e}", shared.display()));
    library(&shared, "wardian-sys", SHARED, &[]);
    library(&shared, "wardian-init", SHARED, &["wardian_sys"]);
    let link = [
        "--crate-type=cdylib",
        SHARED,
        "-Clink-arg=-nostartfiles",
        "-Clink-arg=-nostdlib",
        "-Clink-arg=-Wl,--build-id=none,-z,noexecstack,-z,now,--gc-sections",
        "-Cstrip=symbols",
    ];
    let uses = ["wardian_sys", "wardian_init"];
    compile(&shared, &crates.join("wardian-init/zygote.rs"), "wardian_zygote", &link, &uses);
}

const STATIC: &str = "-Crelocation-model=static";
const SHARED: &str = "-Crelocation-model=pic";

/// Calls the compiler that cargo uses, for the target that cargo builds.
fn compile(out: &Path, source: &Path, name: &str, options: &[&str], uses: &[&str]) {
    let mut rustc = Command::new(variable("RUSTC"));
    rustc
        .args(["--edition=2024", "-Copt-level=s", "-Cpanic=abort"])
        .args(["-Ccodegen-units=1", "-Coverflow-checks=off", "-Cforce-unwind-tables=no"])
        .args(["--cap-lints=allow", "--target", &variable("TARGET"), "--crate-name", name])
        .args(options)
        .args(["--out-dir".as_ref(), out.as_os_str(), "-L".as_ref(), out.as_os_str()])
        .arg(source);
    for library in uses {
        let file = out.join(format!("lib{library}.rlib"));
        rustc.arg("--extern").arg(format!("{library}={}", file.display()));
    }
    if variable("CARGO_CFG_TARGET_ARCH") == "aarch64" {
        // Atomics that ask a C library, once, what the processor can do.
        rustc.arg("-Ctarget-feature=-outline-atomics");
    }
    // Which one cargo was told to use for this target; unset where that is the compiler's own choice.
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        rustc.arg(format!("-Clinker={linker}"));
    }
    // A wrapper or flags meant for the host program (sanitizers, coverage) have no place in a bare binary.
    rustc.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    let status = rustc.status().unwrap_or_else(|e| panic!("cannot run {:?}: {e}", rustc.get_program()));
    assert!(status.success(), "{name} does not compile: {rustc:?}");
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}
