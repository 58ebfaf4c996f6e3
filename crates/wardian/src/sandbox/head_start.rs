//! A head start: init is there, makes its namespaces and sets its root up, while the plan is still being made.
//!
//! Making namespaces is the longest part of a start (a network namespace alone takes half a millisecond) and
//! depends on little of the plan; and what init does first does not depend on what is decided last.

use super::SandboxError;
use super::begun::Begun;
use super::cores;
use crate::host::Host;
use crate::limits::cgroup;
use crate::plan::{self, Plan, PlanError, Request};

/// An init that is at work, or why there is none. Dropping it ends that init.
#[must_use = "dropping it undoes what it does"]
pub struct HeadStart(Result<Begun, SandboxError>);

impl HeadStart {
    /// Begins; what goes wrong is told by the run that uses it.
    pub fn begin(host: &Host) -> HeadStart {
        // Where init is not born into a group, it need not wait until groups are found.
        let cgroups = cgroup::may_be_unified().then(|| host.cgroups());
        let begun = Begun::now(plan::NAMESPACES, cgroups);
        if let Ok(begun) = &begun {
            cores::send_away(begun.init.pid());
        }
        HeadStart(begun)
    }

    /// As [`Plan::build`], while init sets up the root: what of that goes wrong is told by the run that uses it.
    ///
    /// # Errors
    /// Those of [`Plan::build`].
    pub fn plan(&mut self, request: Request, host: &Host) -> Result<Plan, PlanError> {
        Plan::build_and_tell(request, host, |root, policy| {
            if let Ok(begun) = &mut self.0
                && begun.suits(root)
                && let Err(error) = begun.set_up(root, &policy.identity)
            {
                self.0 = Err(error);
            }
        })
    }

    /// What was begun, if it is what the plan needs.
    pub(super) fn finish(self, plan: &Plan) -> Option<Result<Begun, SandboxError>> {
        match self.0 {
            Ok(begun) if !begun.suits(&plan.root) || !begun.has_group(&plan.cgroups) => None,
            // What could not be begun is not what this plan wants.
            Err(_) if plan.root.namespaces != plan::NAMESPACES => None,
            other => Some(other),
        }
    }
}
