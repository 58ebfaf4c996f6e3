//! `/healthz`: this process answers. `/readyz`: a real sandbox refuses what it has to.

use crate::engine::{Environment, Job, Start};
use crate::limits::Limits;
use crate::problem::Problem;
use crate::request_id::Origin;
use crate::service::Service;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};
use wardian::policy::{Duration as Limit, Policy};
use wardian::report::Verdict;
use wardian::sandbox::Connections;

/// An answer is good for so long: asking costs a run.
const GOOD_FOR: Duration = Duration::from_secs(30);

/// The last answer.
#[derive(Default)]
pub(crate) struct Readiness(Arc<tokio::sync::Mutex<Option<(Instant, Answer)>>>);

/// Or why it does not.
type Answer = Result<Holds, String>;

/// A sandbox that holds.
#[derive(Clone)]
pub(crate) struct Holds {
    /// Which layer enforces what.
    pub(crate) layers: String,
    /// How the sandboxes that were asked started.
    starts: Vec<&'static str>,
}

pub(crate) async fn healthz() -> Json<Value> {
    Json(json!({ "status": "ok", "wardian": env!("CARGO_PKG_VERSION") }))
}

pub(crate) async fn readyz(State(service): State<Arc<Service>>) -> Result<Json<Value>, Problem> {
    let not_ready = |_: String| {
        let detail = "a sandbox does not hold here; the log says why";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", detail).retry_after(GOOD_FOR.as_secs())
    };
    if service.gate.is_draining() {
        return Err(crate::service::draining());
    }
    // Whoever asks meanwhile waits for the same answer.
    let mut last = Arc::clone(&service.readiness.0).lock_owned().await;
    if let Some((at, answer)) = last.as_ref().filter(|(at, _)| at.elapsed() < GOOD_FOR) {
        tracing::debug!(age = ?at.elapsed(), "readiness is known");
        return answer.clone().map(shown).map_err(not_ready);
    }
    // Whoever asks and leaves must not make the next one ask a sandbox again.
    let asking = tokio::spawn(Origin::here().over(async move {
        let answer = probe(&service).await;
        if let Err(why) = &answer {
            tracing::error!(%why, "not ready");
        }
        *last = Some((Instant::now(), answer.clone()));
        answer
    }));
    asking.await.map_err(Problem::ours)?.map(shown).map_err(not_ready)
}

const REFUSED: [&str; 3] = ["file", "socket", "process"];

fn shown(holds: Holds) -> Json<Value> {
    Json(json!({ "status": "ready", "refused": REFUSED, "layers": holds.layers, "starts": holds.starts }))
}

/// Each line: a word, and what came of it.
const PROBE: &str = r#"
import os, socket, sys
path, port = sys.argv[1], int(sys.argv[2])
def attempt(name, action):
    try:
        action()
        print(name, "done")
    except OSError as error:
        print(name, "refused", error.errno)
attempt("file", lambda: open(path))
attempt("socket", lambda: socket.create_connection(("127.0.0.1", port), 1))
def fork():
    if os.fork() == 0:
        os._exit(0)
attempt("process", fork)
attempt("computation", lambda: sum(range(1000)))
"#;

/// Runs the probe: as the only process that there may be; and, where sandboxes are ready, in one of those, which are
/// made for more.
pub(crate) async fn probe(service: &Arc<Service>) -> Answer {
    let setup = service.setup();
    let environment = setup.environment(None).map_err(|problem| problem.detail)?;
    let policy = setup.policy(None).map_err(|problem| problem.detail)?;
    // Sandboxes are ready with the limits of requests that ask for none.
    let ceilings = setup.ceilings(policy, Limits::default());
    let usual = Limits::default().lay_over(policy, ceilings).map_err(|problem| problem.detail)?;
    let mut starts = Vec::new();
    if environment.starts(policy) == "warm" {
        let (_, start) = run(service, environment, usual.clone(), &REFUSED[..2]).await?;
        if start != "warm" {
            return Err(
                "sandboxes are ready ahead, and a program that needs no other did not start in one".into()
            );
        }
        starts.push(start);
    }
    let mut alone = usual;
    alone.limits.processes = 1;
    let (layers, start) = run(service, environment, alone, &REFUSED).await?;
    starts.push(start);
    Ok(Holds { layers, starts })
}

/// One run of it; everything it attempts must succeed out here. Tells which layers held, and how it started.
async fn run(
    service: &Arc<Service>,
    environment: &Arc<Environment>,
    mut policy: Policy,
    refused: &[&str],
) -> Result<(String, &'static str), String> {
    let outside = |what: &str, error: io::Error| format!("cannot prepare the probe's {what}: {error}");
    let file = std::env::current_exe().map_err(|error| outside("file", error))?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| outside("socket", error))?;
    let port = listener.local_addr().map_err(|error| outside("socket", error))?.port();
    std::fs::File::open(&file).map_err(|error| outside("file", error))?;
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(|error| outside("socket", error))?;
    policy.limits.wall = policy.limits.wall.min(Limit::from_secs(10));
    let job = Job {
        environment: Arc::clone(environment),
        policy,
        start: Start::Code(PROBE.into()),
        args: vec![file.display().to_string(), port.to_string()],
        files: Vec::new(),
        unbuffered: false,
    };
    let run = {
        let service = Arc::clone(service);
        move || Arc::clone(&job.environment).run(job, Connections::capture(), &service.host)
    };
    let report = tokio::task::spawn_blocking(run).await.map_err(|error| error.to_string())?;
    let (report, start) = report.map_err(|error| format!("a sandbox cannot be made: {error}"))?;
    if report.verdict != Verdict::Ok {
        return Err(format!("the probe did not end well: {}", report.message));
    }
    judge(&report.stdout.text, refused)?;
    let layer = |(what, by): (&String, &wardian::report::Enforcement)| format!("{what}={}", by.layer);
    Ok((report.enforced_by.iter().map(layer).collect::<Vec<_>>().join(" "), start))
}

fn judge(text: &str, refused: &[&str]) -> Result<(), String> {
    let of = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or("unknown").to_owned()
    };
    if of("computation") != "done" {
        return Err("the probe could not even compute".into());
    }
    match refused.iter().find(|name| !of(name).starts_with("refused")) {
        Some(name) => Err(format!("a sandbox did not refuse a {name}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_refused_is_not_ready() {
        let all = "file refused 2\nsocket refused 101\nprocess refused 11\ncomputation done\n";
        assert!(judge(all, &REFUSED).is_ok());
        for (from, to) in
            [("file refused 2", "file done"), ("socket refused 101\n", ""), ("computation done", "")]
        {
            assert!(judge(&all.replace(from, to), &REFUSED).is_err(), "{from}");
        }
    }
}
