//! A warm run is a cold run: the same report, and nothing of another run.

use wardian::host::Host;
use wardian::policy;
use wardian::sandbox::{Connections, Output, StdinSource};
use wardian::warm::{Job, JobProgram, Pool, PoolOptions, Rotation};

fn kept() -> Output {
    Output { pass_to: None, keep: true }
}

fn connections() -> Connections {
    Connections { stdin: StdinSource::Empty, stdout: kept(), stderr: kept(), cancel: None, collect: None }
}

#[test]
fn first() {
    let host = Host::detect();
    let options = PoolOptions {
        policy: policy::preset("python").unwrap(),
        python: wardian::python::Request::Path("/usr/bin/python3".into()),
        preload: vec![],
        ready: 2,
        running: 2,
        queue: 4,
        rotation: Rotation::default(),
    };
    let pool = Pool::start(options, &host).unwrap_or_else(|error| panic!("{error}"));
    for _ in 0..5 {
        let t = std::time::Instant::now();
        let report = pool.run(&Job::new(JobProgram::Code("print('hello')".into())), connections()).unwrap();
        let t = t.elapsed();
        println!("{t:?} {}", serde_json::to_string(&report).unwrap());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
