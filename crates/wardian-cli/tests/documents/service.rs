//! The service that the examples talk to.

use crate::session::binary;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Where it is in the documents.
pub const SHOWN: &str = "127.0.0.1:8060";

/// A service at a port of its own; it ends with its session.
pub struct Service {
    child: Child,
    pub address: String,
}

impl Service {
    /// Starts one in a reader's directory.
    pub fn start(directory: &Path) -> Service {
        let mut child = Command::new(binary())
            .args(["serve", "--listen", "127.0.0.1:0", "--python", "/usr/bin/python3"])
            .current_dir(directory)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.find_map(|line| Some(line.split_once("http://")?.1.to_owned()));
        std::thread::spawn(move || lines.for_each(drop));
        Service { child, address: address.expect("the service listens") }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Killed, it would leave its cgroups to the next start.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}
