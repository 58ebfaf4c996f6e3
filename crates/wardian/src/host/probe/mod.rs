//! Probing by doing: real sandboxes are run, real groups made, and what happened is said.

mod cgroups;
mod codejail;
mod contained;
mod identity;
mod kernel;
mod landlock;
mod leftovers;
mod namespaces;
mod pythons;
mod run;
mod settings;

use super::examination::{EXAMINATION_SCHEMA, Examination, Finding, LandlockLevel, Status};
use super::{Cap, Host};
use crate::limits::cgroup::CgroupHost;
use run::Outcome;
use settings::Settings;
use std::sync::Arc;

impl Host {
    /// Shows by doing what this host, taken for no more than `cap`, can enforce. Takes a second or so.
    ///
    /// Runs sandboxes, makes and removes cgroups ([`CgroupHost::probe`] says what stays of that), and removes
    /// what killed supervisors left, as every run does.
    pub fn examine(cap: Cap) -> Examination {
        let settings = Settings::read();
        let host = Host { cgroups: Arc::new(CgroupHost::probe(cap.cgroup).into()), ..Host::detect_with(cap) };
        let (pythons, default) = pythons::find();
        let mut findings = vec![kernel::finding(), identity::finding(host.privilege)];
        findings.push(leftovers::finding(&host));
        findings.extend(namespaces::findings(&settings));
        let outcome = match &default {
            Ok(_) => contained::attempts(&host),
            Err(_) => run::nothing(&host),
        };
        let earlier = findings.iter().any(|finding| finding.status == Status::Fail);
        findings.extend(sandbox(&outcome, &host, &settings, earlier));
        findings.push(landlock::finding(&host, cap));
        findings.extend(cgroups::findings(host.cgroups()));
        findings.push(pythons::finding(&pythons, default.as_ref().err()));
        let in_the_way = run::in_place(&host);
        if default.is_ok() {
            findings.push(codejail::finding(&host, in_the_way.is_none()));
        }
        Examination {
            schema: EXAMINATION_SCHEMA.into(),
            wardian: env!("CARGO_PKG_VERSION").into(),
            kernel: kernel::release(),
            default_policy_can_be_met: findings.iter().all(|finding| finding.status != Status::Fail),
            findings,
            pythons,
            landlock_level: LandlockLevel::of(host.privilege, in_the_way),
            settings: settings.into_map(),
        }
    }
}

/// What a run showed of the layers that only a run can show.
fn sandbox(outcome: &Outcome, host: &Host, settings: &Settings, earlier: bool) -> Vec<Finding> {
    match outcome {
        Outcome::Ran(report) => {
            let mut findings = vec![
                Finding::ok("sandbox", "a program ran in a private root, without capabilities"),
                contained::proc(report),
                Finding::ok("seccomp", "the filter is on"),
                contained::denials(report, host),
            ];
            findings.extend(contained::finding(report));
            findings
        }
        Outcome::NotRun(failure) => vec![run::failed(failure, settings, earlier)],
    }
}
