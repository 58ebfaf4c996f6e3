//! The `wardian` command line.
#![forbid(unsafe_code)]
use wardian::{
    files::Input,
    host::Host,
    plan::{Plan, Program, Request},
    policy, python,
    sandbox::{self, Connections, Output, StdinSource},
};

fn main() {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let (program, rest) = match args[0].to_str() {
        Some("-c") => (Program::Code(args[1].clone()), 2),
        Some("--exec") => (Program::Exec(args[1].clone().into()), 2),
        _ => (Program::Script(Input::open(args[0].as_ref(), None, 1 << 20).unwrap()), 1),
    };
    let policy = policy::preset("python").unwrap();
    let host = Host::detect();
    let plan = Plan::build(
        Request {
            policy,
            program,
            args: args[rest..].to_vec(),
            inputs: vec![],
            cwd: None,
            python: std::env::var("PY").ok().map_or(python::Request::Default, |p| p.parse().unwrap()),
            unbuffered: false,
        },
        &host,
    )
    .unwrap();
    if std::env::var_os("EXPLAIN").is_some() {
        eprintln!("{}", plan.explain());
    }
    let out = |fd: std::os::fd::BorrowedFd<'_>| Output {
        pass_to: Some(fd.try_clone_to_owned().unwrap()),
        keep: false,
    };
    use std::os::fd::AsFd;
    let connections = Connections {
        stdin: StdinSource::Fd(std::io::stdin().as_fd().try_clone_to_owned().unwrap()),
        stdout: out(std::io::stdout().as_fd()),
        stderr: out(std::io::stderr().as_fd()),
        cancel: None,
    };
    match sandbox::run(plan, connections) {
        Ok(r) => {
            eprintln!("{}", serde_json::to_string(&r).unwrap());
        }
        Err(e) => {
            eprintln!("wardian: {e}\nhint: {:?}", e.hint());
            std::process::exit(125)
        }
    }
}
