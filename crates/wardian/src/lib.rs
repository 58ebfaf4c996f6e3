//! The engine of wardian: run untrusted Python contained, within exact limits, and report what happened.
//!
//! ```text
//! policy × host ──▶ plan ──▶ sandbox ──▶ report
//! ```
//!
//! A [`policy`] says what a program may do; [`host`] finds out what this machine can enforce. [`plan::Plan::build`] decides
//! everything that will be done, or says why it cannot be done, before anything runs. [`sandbox`] does it, and answers with a
//! [`report`] when every process inside is gone. [`warm`] keeps sandboxes in which Python is running already.
//!
//! Linux 5.15 or later, on x86-64 or aarch64; no root, no daemon, no setuid program. All calls block the thread that makes them, and
//! any thread may make them: a run is watched by the thread that called, there is no runtime, and nothing forks from the
//! caller's process. `docs/theory-of-operation.md` in the repository tells which processes there are; `docs/policies.md` has every key
//! of a policy.
//!
//! # One run
//!
//! Whatever the program does is in the [`Report`](report::Report); errors are for what wardian could not do, and have a `hint()`
//! where the fix is known.
//!
//! ```
//! use wardian::host::Host;
//! use wardian::plan::{Plan, Program, Request};
//! use wardian::policy::{self, Bytes, Duration};
//! use wardian::report::{Reason, Verdict};
//! use wardian::sandbox::{self, Connections};
//!
//! let host = Host::detect(); // Once: it examines the machine.
//! let mut policy = policy::preset("python")?;
//! policy.limits.memory = Bytes(256 << 20);
//! policy.limits.cpu_time = Duration::from_micros(200_000);
//!
//! let plan = Plan::build(Request::new(policy, Program::Code("while True: pass".into())), &host)?;
//! let report = sandbox::run(plan, Connections::capture())?;
//! assert_eq!((report.verdict, report.reason), (Verdict::TimeLimit, Reason::CpuTime));
//! assert!(report.exit_code.is_none() && report.stdout.text.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Standard input, files in and out
//!
//! [`Input`](files::Input)s are copied to the working directory, `/box`. [`Collect`](sandbox::Collect) takes files from there when
//! everything inside is dead: into the report, or into a directory ([`OutDir`](files::OutDir)).
//!
//! ```
//! use wardian::files::{CollectLimits, Globs, Input};
//! use wardian::host::Host;
//! use wardian::plan::{Plan, Program, Request};
//! use wardian::policy;
//! use wardian::sandbox::{self, Collect, Connections, StdinSource};
//!
//! let code = b"open('shout.txt', 'w').write(input().upper() + open('end.txt').read())";
//! let script = Input::from_bytes("main.py".parse()?, code)?;
//! let end = Input::from_bytes("end.txt".parse()?, b"!")?; // Or Input::open, for a file of the host.
//!
//! let mut request = Request::new(policy::preset("judge")?, Program::Script(script.clone()));
//! request.inputs = vec![script, end];
//!
//! let mut connections = Connections::capture();
//! connections.streams.stdin = StdinSource::Bytes(b"hello\n".to_vec());
//! connections.collect = Some(Collect {
//!     globs: Globs::new(&["*.txt".to_owned()])?,
//!     limits: CollectLimits::default(),
//!     out: None,
//! });
//!
//! let report = sandbox::run(Plan::build(request, &Host::detect())?, connections)?;
//! let [file] = report.files.as_slice() else { panic!("{report:?}") }; // end.txt is as it was given.
//! assert_eq!((file.path.as_str(), file.base64.as_deref()), ("shout.txt", Some("SEVMTE8h")));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Output as it comes
//!
//! What is passed on is read by somebody else meanwhile; who reads slowly slows the program down.
//!
//! ```
//! use std::io::{BufRead, BufReader};
//! use wardian::host::Host;
//! use wardian::plan::{Plan, Program, Request};
//! use wardian::policy;
//! use wardian::sandbox::{self, Connections};
//!
//! let (reader, writer) = std::io::pipe()?;
//! let watcher = std::thread::spawn(move || BufReader::new(reader).lines().map_while(Result::ok).count());
//!
//! let mut request = Request::new(policy::preset("python")?, Program::Code("for n in range(3): print(n)".into()));
//! request.unbuffered = true; // Python would keep its output back otherwise.
//! let mut connections = Connections::capture();
//! connections.streams.stdout.pass_to = Some(writer.into());
//! connections.streams.stdout.keep = false; // Or true, for the report as well.
//!
//! let report = sandbox::run(Plan::build(request, &Host::detect())?, connections)?;
//! assert!(report.stdout.passed_through && report.stdout.bytes == 6);
//! assert_eq!(watcher.join().ok(), Some(3));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Ending a run
//!
//! A [`Cancel`](sandbox::Cancel) ends a run from another thread, or passes a signal to the program. Dropping a
//! [`Running`](sandbox::Running) ends it, too; so does the end of the caller's process.
//!
//! ```
//! use wardian::host::Host;
//! use wardian::plan::{Plan, Program, Request};
//! use wardian::policy;
//! use wardian::report::Verdict;
//! use wardian::sandbox::{self, Cancel, Connections};
//!
//! let cancel = Cancel::new()?;
//! let mut connections = Connections::capture();
//! connections.cancel = Some(cancel.clone());
//!
//! let program = Program::Code("import time; time.sleep(60)".into());
//! let plan = Plan::build(Request::new(policy::preset("python")?, program), &Host::detect())?;
//! let running = sandbox::launch(plan, connections, None)?;
//! std::thread::spawn(move || cancel.cancel());
//! assert_eq!(running.wait()?.verdict, Verdict::Cancelled);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Warm starts
//!
//! A [`Pool`](warm::Pool) has sandboxes ready, each for one program: contained, with Python started and modules imported. Input,
//! files, live output and cancelling are as above.
//!
//! ```
//! use wardian::host::Host;
//! use wardian::policy::{self, Duration};
//! use wardian::python;
//! use wardian::sandbox::Connections;
//! use wardian::warm::{Job, JobProgram, Pool, PoolOptions, Rotation};
//!
//! let options = PoolOptions {
//!     policy: policy::preset("python")?,
//!     python: python::Request::Default,
//!     preload: vec!["decimal".into()], // Or `numpy`, or a file: "/srv/model.py" is the module `model`.
//!     ready: 2,
//!     running: 2,
//!     queue: 64,
//!     rotation: Rotation::default(),
//! };
//! let pool = Pool::start(options, &Host::detect())?; // It is ready when this returns.
//!
//! let mut job = Job::new(JobProgram::Code("import decimal; print(decimal.Decimal('0.1') * 3)".into()));
//! job.limits.wall = Some(Duration::from_secs(5)); // Lower than the policy's, never higher.
//! let report = pool.run(&job, Connections::capture())?; // From any number of threads.
//! assert_eq!(report.stdout.text, "0.3\n");
//! pool.drain();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

pub mod compat;
pub mod files;
pub mod host;
pub mod limits;
pub mod plan;
pub mod policy;
pub mod python;
pub mod report;
pub mod sandbox;
pub mod seccomp;
mod signals;
pub mod warm;

/// The README's example, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
