#![allow(clippy::all, missing_docs)]
use wardian::host::Host;
use wardian::sandbox::{Connections, Output, StdinSource};
use wardian::warm::*;
fn main() {
    let preload: Vec<String> = std::env::args()
        .nth(2)
        .map(|s| s.split(',').filter(|s| !s.is_empty()).map(String::from).collect())
        .unwrap_or_default();
    let code = std::env::args().nth(1).unwrap();
    let options = PoolOptions {
        policy: wardian::policy::preset("python").unwrap(),
        python: wardian::python::Request::Path("/usr/bin/python3".into()),
        preload,
        ready: 1,
        running: 1,
        queue: 1,
        rotation: Rotation::default(),
    };
    let pool = Pool::start(options, &Host::detect()).unwrap_or_else(|e| panic!("{e}"));
    for _ in 0..6 {
        while pool.levels().ready == 0 {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        std::thread::sleep(std::time::Duration::from_millis(30));
        let kept = || Output { pass_to: None, keep: true };
        let c = Connections {
            stdin: StdinSource::Empty,
            stdout: kept(),
            stderr: kept(),
            cancel: None,
            collect: None,
        };
        let t = std::time::Instant::now();
        let r = pool.run(&Job::new(JobProgram::Code(code.clone().into())), c).unwrap();
        let t = t.elapsed();
        println!(
            "{t:?} {:?} faults {:?} sw {:?} cpu {:?} {:?} out {} err {}",
            r.timeline_us,
            r.usage.page_faults,
            r.usage.context_switches,
            r.usage.cpu_user_us,
            r.usage.cpu_system_us,
            r.stdout.text.trim(),
            r.stderr.text
        );
    }
}
