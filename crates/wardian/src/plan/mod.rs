//! The plan: policy × host, validated — an immutable, printable, ordered list of what will be done.
//!
//! Building a plan can fail; executing it decides nothing. [`Plan::build`] is the only place where a policy
//! meets a host. The set-up steps are executed inside by `wardian-init`, the guest's part by the guest's own
//! child-side code, and the launch and the supervision outside by [`crate::sandbox`].

mod covers;
mod devices;
mod digest;
mod error;
mod etc;
mod filter;
mod guest;
mod host_tree;
mod in_place;
mod landlock;
mod program;
mod refusing;
mod require;
mod root;
mod steps;
mod warm;

pub use error::PlanError;
pub use program::Program;

pub(crate) use digest::PolicyDigest;
pub(crate) use guest::{GuestPlan, limits_file_size};
pub(crate) use host_tree::HostTree;
pub(crate) use in_place::InPlace;
pub(crate) use steps::Steps;
pub(crate) use warm::WarmPlan;

use crate::host::{Host, Privilege};
use crate::limits::cgroup::CgroupHost;
use crate::policy::{self, Level, Mount, MountKind, Outside, Policy, Scratch, Work};
use program::Resolved;
use std::mem;
use std::sync::Arc;

use wardian_sys::clone;

/// The directory that programs start in.
pub const BOX: &str = "/box";
/// Home directory.
pub const HOME: &str = "/home/guest";

/// Where the guest finds its scratch space.
pub(crate) struct Places {
    /// What programs start in, and where inputs are.
    pub(crate) work: String,
    /// `HOME`
    pub(crate) home: String,
    /// `TMPDIR`
    pub(crate) tmp: String,
}

impl Places {
    /// In a root of its own.
    fn inside(policy: &Policy) -> Places {
        let (home, tmp) = match (policy.outside, policy.files.work) {
            (Outside::Absent, _) if policy.files.tmp => (HOME, "/tmp"),
            (Outside::Absent, _) => (HOME, BOX),
            (Outside::Denied, Work::Writable) => (BOX, "/box/tmp"),
            (Outside::Denied, Work::ReadOnly) => ("/box/tmp", "/box/tmp"),
        };
        Places { work: BOX.into(), home: home.into(), tmp: tmp.into() }
    }

    /// In a private directory of the host.
    fn below(in_place: &InPlace) -> Result<Places, PlanError> {
        let top = in_place.top.to_str().ok_or_else(|| PlanError::NotUtf8 { path: in_place.top.clone() })?;
        let [work, home, tmp] = ["box", "home", "tmp"].map(|name| format!("{top}/{name}"));
        Ok(Places { work, home, tmp })
    }
}

/// What will be done, in order.
#[derive(Clone)]
pub struct Plan {
    /// When the run was accepted.
    pub(crate) accepted: std::time::Instant,
    pub(crate) policy: Policy,
    pub(crate) policy_digest: PolicyDigest,
    pub(crate) root: RootPlan,
    pub(crate) guest: Arc<GuestPlan>,
    pub(crate) python: Option<String>,
    pub(crate) cgroups: CgroupHost,
    /// Cores that the guest may use at once.
    pub(crate) cores: usize,
    pub(crate) landlock_abi: u32,
    /// Level `landlock`: the private directory.
    pub(crate) in_place: Option<InPlace>,
}

/// The half of a plan that init executes before there is a guest.
#[derive(Clone)]
pub(crate) struct RootPlan {
    /// Init's namespaces.
    pub(crate) namespaces: u64,
    pub(crate) steps: Arc<Steps>,
    /// Files that init copies in, in the order of their seats.
    pub(crate) inputs: Vec<crate::files::Input>,
    /// Files of the host that init copies in, in the order of their seats.
    pub(crate) copies: Arc<Vec<std::fs::File>>,
    /// Host trees that the supervisor opens, in the order of their seats.
    pub(crate) trees: Vec<HostTree>,
    /// Whether init hands `/box` out, before any other directory.
    pub(crate) hands_out_box: bool,
    /// Whether sandbox and guest have host ids of their own.
    pub(crate) own_ids: bool,
}

/// What to run, and what it gets.
pub struct Request {
    /// The policy.
    pub policy: Policy,
    /// The program.
    pub program: Program,
    /// Its arguments.
    pub args: Vec<std::ffi::OsString>,
    /// Files copied to `/box`, the program's own among them.
    pub inputs: Vec<crate::files::Input>,
    /// Its working directory; none for `/box`.
    pub cwd: Option<String>,
    /// Which interpreter.
    pub python: crate::python::Request,
    /// Whether output is watched live, so that Python must not buffer it.
    pub unbuffered: bool,
}

impl Request {
    /// This program under this policy: no arguments, no files, the usual interpreter.
    pub fn new(policy: Policy, program: Program) -> Request {
        Request {
            policy,
            program,
            args: Vec::new(),
            inputs: Vec::new(),
            cwd: None,
            python: crate::python::Request::Default,
            unbuffered: false,
        }
    }
}

impl Plan {
    /// Whether all that a program may write, of files, lies in one file system of its own.
    pub(crate) fn resizes_scratch(&self) -> bool {
        let files = &self.policy.files;
        let shares_size = |mount: &Mount| mount.kind == MountKind::Tmpfs && mount.size.is_none();
        files.scratch != Scratch::None && self.in_place.is_none() && !files.mounts.iter().any(shares_size)
    }

    /// What its author may not have meant: words for a person, before the program runs.
    pub fn notes(&self) -> Vec<String> {
        let mounts = self.policy.files.mounts.iter().filter(|_| self.root.own_ids);
        mounts.filter_map(host_tree::unwritable).collect()
    }

    /// Decides everything.
    ///
    /// # Errors
    /// What the policy asks and this host cannot enforce, and what is wrong with the program or its files.
    pub fn build(request: Request, host: &Host) -> Result<Plan, PlanError> {
        Plan::build_and_tell(request, host, |_, _| ())
    }

    /// As `build`; the root is told as soon as it is decided, while the guest is not yet.
    pub(crate) fn build_and_tell(
        request: Request,
        host: &Host,
        tell: impl FnOnce(&RootPlan, &Policy),
    ) -> Result<Plan, PlanError> {
        Plan::assemble(request, host, |_, _| (), tell)
    }

    /// As `build_and_tell`, of a program that is altered when all it needs is known, and after steps that come first.
    fn assemble(
        mut request: Request,
        host: &Host,
        alter: impl FnOnce(&mut Resolved, &mut Steps),
        tell: impl FnOnce(&RootPlan, &Policy),
    ) -> Result<Plan, PlanError> {
        let accepted = std::time::Instant::now();
        policy::check(&request.policy, "policy")?;
        require::require(&mut request.policy, host)?;
        guest::inherit_cpu_time(&mut request.policy);
        let in_place = match request.policy.level {
            Level::Namespaces => None,
            Level::Landlock => {
                in_place::require(&request.policy, host)?;
                Some(in_place::private_directory(&request.policy)?)
            }
        };
        let places = match &in_place {
            None => Places::inside(&request.policy),
            Some(in_place) => Places::below(in_place)?,
        };
        let mut program = program::resolve(&request, &places)?;
        let mut steps = Steps::default();
        alter(&mut program, &mut steps);
        covers::hide_nothing_needed(&request, &program)?;
        let mut root = if in_place.is_none() {
            root::build(&request, &program, host, &mut steps)?
        } else {
            // There is nowhere to put the file that trims the start.
            program.start_files.clear();
            let cwd = request.cwd.as_deref();
            in_place::root(&request.policy, &program, &request.inputs, cwd, &places, host)?
        };
        let root_plan = RootPlan {
            namespaces: if in_place.is_some() { 0 } else { NAMESPACES },
            steps: Arc::new(steps),
            inputs: mem::take(&mut root.inputs),
            copies: Arc::new(mem::take(&mut root.copies)),
            trees: mem::take(&mut root.trees),
            hands_out_box: root.hands_out_box,
            own_ids: host.privilege == Privilege::Root,
        };
        tell(&root_plan, &request.policy);
        let guest = guest::build(&request, &program, &root, &places, host)?;
        Ok(Plan {
            accepted,
            root: root_plan,
            guest: Arc::new(guest),
            python: program.python_version,
            cgroups: host.cgroups().clone(),
            cores: request.policy.limits.cpus.map_or(host.cpus.len(), guest::cores).min(host.cpus.len()),
            landlock_abi: host.landlock_abi,
            in_place,
            policy: request.policy,
            policy_digest: PolicyDigest::default(),
        })
    }

    /// The plan as text, one step a line.
    pub fn explain(&self) -> String {
        let mut text = String::from("supervisor:\n");
        for tree in &self.root.trees {
            text += &format!("  open {}\n", tree.source.display());
        }
        match &self.in_place {
            Some(in_place) => {
                text += &format!(
                    "  make the private directory {} and copy inputs there\n",
                    in_place.top.display()
                );
                text += "  start wardian-init, without namespaces\n";
            }
            None => {
                text += "  start wardian-init in new namespaces: user, pid, mount, ipc, uts";
                text += if self.root.namespaces & clone::NEWNET == 0 { "\n" } else { ", net\n" };
            }
        }
        text += "wardian-init:\n";
        for step in self.root.steps.iter() {
            text += &format!("  {step}\n");
        }
        text += "guest:\n";
        for line in self.guest.lines() {
            text += &format!("  {line}\n");
        }
        text
    }
}

/// The namespaces of every sandbox. The network namespace is made for every `network` there is: none of
/// them is the host's.
pub(crate) const NAMESPACES: u64 =
    clone::NEWUSER | clone::NEWPID | clone::NEWNS | clone::NEWIPC | clone::NEWUTS | clone::NEWNET;
