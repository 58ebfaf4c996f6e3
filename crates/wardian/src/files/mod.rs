//! (interim)
#![allow(missing_docs)]
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
#[derive(Clone)]
pub struct Input {
    name: String,
    bytes: u64,
    fd: Arc<OwnedFd>,
}
impl Input {
    pub fn open(host: &Path, name: Option<&str>, _max: u64) -> std::io::Result<Input> {
        let f = std::fs::File::open(host)?;
        let bytes = f.metadata()?.len();
        Ok(Input {
            name: name
                .map(str::to_owned)
                .unwrap_or_else(|| host.file_name().unwrap_or_default().to_string_lossy().into_owned()),
            bytes,
            fd: Arc::new(f.into()),
        })
    }
    pub fn name(&self) -> &str {
        &self.name
    }
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
    pub fn executable(&self) -> bool {
        false
    }
    pub fn fd(&self) -> &OwnedFd {
        &self.fd
    }
}
