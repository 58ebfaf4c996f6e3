//! A service for one test.

use crate::client::{Answer, Request};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A running service; it ends with the test.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    pub directory: tempfile::TempDir,
    log: Arc<Mutex<Vec<String>>>,
}

pub fn binary() -> PathBuf {
    std::env::var_os("WARDIAN_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_wardian").into()).into()
}

/// An environment table with an interpreter that starts fast, where there is one.
fn environment() -> &'static str {
    if Path::new("/usr/bin/python3").exists() {
        "[[environments]]\nname = \"python\"\npython = \"/usr/bin/python3\"\nready = 0\n"
    } else {
        ""
    }
}

impl Server {
    /// With nothing said.
    pub fn plain() -> Server {
        Server::with("")
    }

    /// With this configuration, at a port of its own.
    pub fn with(config: &str) -> Server {
        Server::start(config, &["--listen", "127.0.0.1:0"])
    }

    /// With this configuration and command line.
    pub fn start(config: &str, args: &[&str]) -> Server {
        let directory = tempfile::tempdir().unwrap();
        write_config(directory.path(), config);
        let mut command = Command::new(binary());
        command.arg("serve").arg("--config").arg(directory.path().join("config.toml")).args(args);
        Server::spawn(command, directory)
    }

    pub fn spawn(mut command: Command, directory: tempfile::TempDir) -> Server {
        let mut child = command.stderr(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut seen = Vec::new();
        let mut address = None;
        for line in lines.by_ref() {
            let line = line.unwrap();
            seen.push(line.clone());
            if let Some((_, place)) = line.split_once("http://") {
                let end = place.find('"').unwrap_or(place.len());
                address = Some(place[..end].trim().parse().unwrap());
                break;
            }
            if line.contains("place=unix:") {
                break;
            }
        }
        let log = Arc::new(Mutex::new(seen));
        let address = address.or_else(|| {
            log.lock().unwrap().last()?.contains("place=unix:").then(|| ([127, 0, 0, 1], 0).into())
        });
        let Some(address) = address else {
            let _ = child.wait();
            panic!("the service did not start: {:?}", log.lock().unwrap());
        };
        let more = Arc::clone(&log);
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| more.lock().unwrap().push(line))
        });
        Server { child, address, directory, log }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
        stream
    }

    pub fn send(&self, request: Request) -> Answer {
        request.send(self.connect())
    }

    pub fn post(&self, path: &str, body: &str) -> Answer {
        self.send(Request::post(path, body))
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path))
    }

    /// A program's report.
    pub fn run(&self, code: &str) -> serde_json::Value {
        let answer = self.post("/v1/run", &serde_json::json!({ "code": code }).to_string());
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for a line of the log.
    pub fn wait_for(&self, words: &str) {
        until(words, || self.log.lock().unwrap().iter().any(|line| line.contains(words)));
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    pub fn wait(&mut self) -> ExitStatus {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "the service does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// One of its own levels.
    pub fn level(&self, name: &str) -> i64 {
        let text = self.get("/metrics").text();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        line.unwrap_or(0)
    }

    /// Bytes of its own memory.
    pub fn memory(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most that it ever had.
    pub fn memory_peak(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// How many descriptors it has open.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    fn status(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    /// Killed, it would leave its cgroups to the next start.
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let end = Instant::now() + Duration::from_secs(5);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.kill();
    }
}

pub fn write_config(directory: &Path, config: &str) {
    let environment = if config.contains("[[environments]]") { "" } else { environment() };
    std::fs::write(directory.join("config.toml"), format!("{config}\n{environment}")).unwrap();
}

/// Waits until something is so.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
