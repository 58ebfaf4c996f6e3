//! `wardian serve`, started for the measurement, and its clients: HTTP/1.1 on connections that stay.

use crate::{Failure, PYTHON};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const START_LIMIT: Duration = Duration::from_secs(60);

pub struct Service {
    process: Child,
    directory: tempfile::TempDir,
    port: u16,
}

impl Service {
    pub fn start(wardian: &Path, preload: &[&str], callers: usize) -> Result<Service, Failure> {
        let directory = tempfile::tempdir()?;
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let mut config =
            format!("listen = [\"127.0.0.1:{port}\"]\nunix = {:?}\n", directory.path().join("socket"));
        write!(config, "[runs]\nat_once = {callers}\n[[environments]]\npython = {PYTHON:?}\n")?;
        writeln!(config, "preload = {preload:?}\nready = {}", callers + 2)?;
        let file = directory.path().join("wardian.toml");
        std::fs::write(&file, config)?;
        let process =
            Command::new(wardian).args(["serve", "--config"]).arg(file).stderr(Stdio::null()).spawn()?;
        let service = Service { process, directory, port };
        service.wait_until_it_answers()?;
        Ok(service)
    }

    fn wait_until_it_answers(&self) -> Result<(), Failure> {
        let started = Instant::now();
        loop {
            match self.connect_http().and_then(|mut connection| connection.run("")) {
                Ok(()) => return Ok(()),
                Err(error) if started.elapsed() > START_LIMIT => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    pub fn connect_unix(&self) -> Result<Connection, Failure> {
        let stream = UnixStream::connect(self.socket())?;
        Ok(Connection { writer: Box::new(stream.try_clone()?), reader: BufReader::new(Box::new(stream)) })
    }

    pub fn connect_http(&self) -> Result<Connection, Failure> {
        let stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_nodelay(true)?;
        Ok(Connection { writer: Box::new(stream.try_clone()?), reader: BufReader::new(Box::new(stream)) })
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.process);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.process.wait();
    }
}

pub struct Connection {
    writer: Box<dyn Write + Send>,
    reader: BufReader<Box<dyn Read + Send>>,
}

impl Connection {
    /// One run, which must succeed.
    pub fn run(&mut self, code: &str) -> Result<(), Failure> {
        let body = serde_json::json!({ "code": code }).to_string();
        let head = format!(
            "POST /v1/run HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.writer.write_all((head + &body).as_bytes())?;
        let answer = self.answer()?;
        let report: serde_json::Value = serde_json::from_slice(&answer)?;
        if report["exit_code"] == 0 { Ok(()) } else { Err(format!("a run failed: {report}").into()) }
    }

    fn answer(&mut self) -> Result<Vec<u8>, Failure> {
        let (mut line, mut length) = (String::new(), 0);
        loop {
            line.clear();
            if self.reader.read_line(&mut line)? == 0 {
                return Err("the service closed the connection".into());
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse()?;
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body)?;
        Ok(body)
    }
}
