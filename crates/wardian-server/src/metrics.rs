//! What Prometheus is told.

use crate::gate::Gate;
use crate::setup::Setup;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::time::Duration;
use wardian::report::{Report, Verdict};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RunLabels {
    interface: &'static str,
    start: &'static str,
    verdict: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PhaseLabels {
    phase: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DenialLabels {
    syscall: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LevelLabels {
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PoolLabels {
    environment: String,
    policy: String,
    state: &'static str,
}

/// All of it.
pub(crate) struct Metrics {
    registry: Registry,
    runs: Family<RunLabels, Counter>,
    phases: Family<PhaseLabels, Histogram>,
    denials: Family<DenialLabels, Counter>,
    requests: Family<RequestLabels, Counter>,
    levels: Family<LevelLabels, Gauge>,
    pools: Family<PoolLabels, Gauge>,
    connections: Gauge,
    memory: Gauge,
    reloads: Counter,
}

fn histogram() -> Histogram {
    Histogram::new([
        0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
        30.0, 60.0,
    ])
}

impl Metrics {
    pub(crate) fn new() -> Metrics {
        let mut registry = Registry::with_prefix("wardian");
        let runs = Family::default();
        let phases = Family::new_with_constructor(histogram as fn() -> Histogram);
        let (denials, requests, levels) = (Family::default(), Family::default(), Family::default());
        let pools = Family::default();
        let (connections, memory, reloads) = (Gauge::default(), Gauge::default(), Counter::default());
        registry.register("runs", "Runs by interface, start and verdict", runs.clone());
        registry.register_with_unit("run", "Time by phase of a run", Unit::Seconds, phases.clone());
        registry.register("denials", "System calls that were refused", denials.clone());
        registry.register("requests", "Requests by route and status", requests.clone());
        registry.register("gate", "Runs under way and requests waiting for their turn", levels.clone());
        registry.register(
            "pool",
            "Sandboxes ready ahead of demand, and in use; whether their zygote is older than it should be",
            pools.clone(),
        );
        registry.register("connections", "Open connections", connections.clone());
        registry.register_with_unit(
            "memory",
            "Memory held by bodies and answers",
            Unit::Bytes,
            memory.clone(),
        );
        registry.register("reloads", "Configurations taken", reloads.clone());
        Metrics { registry, runs, phases, denials, requests, levels, pools, connections, memory, reloads }
    }

    /// A request has waited so long for its turn.
    pub(crate) fn waited(&self, time: Duration) {
        self.observe("queue", time.as_secs_f64());
    }

    /// A run is over.
    pub(crate) fn ran(&self, interface: &'static str, start: &'static str, report: &Report) {
        self.runs.get_or_create(&RunLabels { interface, start, verdict: word(report.verdict) }).inc();
        for denial in &report.denials {
            let labels = DenialLabels { syscall: denial.syscall.clone() };
            self.denials.get_or_create(&labels).inc_by(denial.count);
        }
        let at = &report.timeline_us;
        let points = [
            ("prepare", Some(at.accepted), at.prepared),
            ("start", at.prepared, at.started),
            ("run", at.started, at.ended),
            ("collect", at.ended, at.collected),
            ("total", Some(at.accepted), at.collected),
        ];
        for (phase, from, to) in points {
            if let (Some(from), Some(to)) = (from, to) {
                self.observe(phase, Duration::from_micros(to.saturating_sub(from)).as_secs_f64());
            }
        }
    }

    /// A run that has no report.
    pub(crate) fn failed(&self, interface: &'static str, verdict: Verdict) {
        self.runs.get_or_create(&RunLabels { interface, start: "none", verdict: word(verdict) }).inc();
    }

    fn observe(&self, phase: &'static str, seconds: f64) {
        self.phases.get_or_create(&PhaseLabels { phase }).observe(seconds);
    }

    pub(crate) fn answered(&self, route: &str, status: u16) {
        self.requests.get_or_create(&RequestLabels { route: route.into(), status }).inc();
    }

    pub(crate) fn reloaded(&self) {
        self.reloads.inc();
    }

    /// The text, with levels as they are now.
    pub(crate) fn text(
        &self,
        setup: &Setup,
        gate: &Gate,
        connections: usize,
        memory: usize,
    ) -> Result<String, std::fmt::Error> {
        let levels = gate.levels();
        let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        for (state, value) in [("running", levels.running), ("waiting", levels.waiting)] {
            self.levels.get_or_create(&LevelLabels { state }).set(number(value));
        }
        self.pools.clear();
        for environment in &setup.environments {
            for ready in &environment.ready {
                let levels = ready.levels();
                let overdue = usize::from(ready.is_overdue());
                for (state, value) in
                    [("ready", levels.ready), ("running", levels.running), ("overdue", overdue)]
                {
                    let (environment, policy) = (environment.config.name.clone(), ready.policy().to_owned());
                    let labels = PoolLabels { environment, policy, state };
                    self.pools.get_or_create(&labels).set(number(value));
                }
            }
        }
        self.connections.set(number(connections));
        self.memory.set(number(memory));
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// A verdict as reports write it.
pub(crate) fn word(verdict: Verdict) -> String {
    match serde_json::to_value(verdict) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::from("unknown"),
    }
}
