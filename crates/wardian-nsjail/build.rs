//! Compiles `config.proto` to a descriptor set, without `protoc`.

use std::{env, error::Error, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=config.proto");
    let descriptor = protox::Compiler::new(["."])?.open_file("config.proto")?.encode_file_descriptor_set();
    let out = env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR for build scripts")?;
    fs::write(Path::new(&out).join("config.bin"), descriptor)?;
    Ok(())
}
