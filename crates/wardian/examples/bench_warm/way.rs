//! The ways to a report: the library, the service's unix socket, HTTP.

use crate::service::{Connection, Service};
use crate::{Failure, PYTHON, Workload};
use std::path::Path;
use std::time::Duration;
use wardian::host::Host;
use wardian::report::Report;
use wardian::sandbox::Connections;
use wardian::warm::{Job, JobProgram, Pool, PoolOptions, Rotation};
use wardian::{policy, python};

/// How a program gets to a ready sandbox.
pub enum Way {
    Library(Pool),
    Unix(Service),
    Http(Service),
}

/// What one thread of the load keeps between its runs.
pub enum Caller<'a> {
    Library(&'a Pool),
    Service(Connection),
}

impl Way {
    pub const NAMES: [&'static str; 3] = ["library", "unix socket", "HTTP"];

    /// Starts what serves `callers` at once.
    pub fn start(name: &str, wardian: &Path, workload: &Workload, callers: usize) -> Result<Way, Failure> {
        Ok(match name {
            "library" => Way::Library(pool(workload.preload, callers + 2, callers)?),
            "unix socket" => Way::Unix(Service::start(wardian, workload.preload, callers)?),
            _ => Way::Http(Service::start(wardian, workload.preload, callers)?),
        })
    }

    pub fn caller(&self) -> Result<Caller<'_>, Failure> {
        Ok(match self {
            Way::Library(pool) => Caller::Library(pool),
            Way::Unix(service) => Caller::Service(service.connect_unix()?),
            Way::Http(service) => Caller::Service(service.connect_http()?),
        })
    }

    /// Waits until a sandbox is ready.
    pub fn settle(&self) {
        match self {
            Way::Library(pool) => {
                while pool.levels().ready == 0 {
                    std::thread::sleep(Duration::from_micros(200));
                }
            }
            // It shows its levels only when asked, which would be a load itself.
            Way::Unix(_) | Way::Http(_) => std::thread::sleep(Duration::from_millis(4)),
        }
    }
}

impl Caller<'_> {
    /// One run, which must succeed.
    pub fn run(&mut self, code: &str) -> Result<(), Failure> {
        match self {
            Caller::Library(pool) => run(pool, code).map(drop),
            Caller::Service(connection) => connection.run(code),
        }
    }
}

/// One run through the library, which must succeed.
pub fn run(pool: &Pool, code: &str) -> Result<Report, Failure> {
    let report = pool.run(&Job::new(JobProgram::Code(code.into())), Connections::capture())?;
    if report.exit_code != Some(0) {
        return Err(format!("a run failed: {}", serde_json::to_string(&report)?).into());
    }
    Ok(report)
}

pub fn pool(preload: &[&str], ready: usize, running: usize) -> Result<Pool, Failure> {
    let options = PoolOptions {
        policy: policy::preset("python")?,
        python: python::Request::Path(PYTHON.into()),
        preload: preload.iter().map(|name| (*name).into()).collect(),
        ready,
        running,
        queue: 64,
        rotation: Rotation::default(),
    };
    Ok(Pool::start(options, &Host::detect())?)
}
