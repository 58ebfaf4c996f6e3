//! From a profile to a BPF program.
//!
//! The program checks the architecture, then finds the call by a binary search over ranges of numbers that get
//! the same answer, and only for the few calls whose arguments matter looks at those. Calls that are allowed
//! whatever their arguments reach their verdict without loading any, so the kernel remembers them in a bitmap
//! and skips the program (since 5.11).

use super::assembler::{Assembler, Place};
use super::bpf::{self, Program};
use super::ruling::{Decision, Half, Ruling, Test};
use super::{Arch, Profile, Refusal, table};
use std::collections::BTreeSet;

/// Compiles the filter of a profile.
pub fn compile(profile: &Profile, arch: Arch) -> Program {
    let answers = table::rulings(profile, arch).map(|(number, ruling)| (number, Answer::of(ruling, profile)));
    program(&ranges(answers, || Answer::of(Decision::ABSENT.into(), profile)), arch)
}

/// The filter that allows these calls, and kills at any other.
pub(super) fn allow_only(calls: impl IntoIterator<Item = usize>, arch: Arch) -> Program {
    let numbers: BTreeSet<u32> = calls.into_iter().filter_map(|call| u32::try_from(call).ok()).collect();
    let answers = numbers.into_iter().map(|number| (number, Answer::plain(bpf::RET_ALLOW)));
    program(&ranges(answers, || Answer::plain(bpf::RET_KILL_PROCESS)), arch)
}

fn program(ranges: &[Range], arch: Arch) -> Program {
    let mut code = Assembler::default();
    let mut place = search(ranges, &mut code);
    if let Some(bit) = arch.foreign_bit() {
        let kill = code.verdict(bpf::RET_KILL_PROCESS);
        place = code.branch(bpf::ANY_BIT, bit, kill, place);
    }
    let ours = code.plain(bpf::LOAD, bpf::NUMBER, place);
    let kill = code.verdict(bpf::RET_KILL_PROCESS);
    let check = code.branch(bpf::EQUAL, arch.audit(), ours, kill);
    let start = code.plain(bpf::LOAD, bpf::ARCHITECTURE, check);
    code.finish(start)
}

/// The filter's return value for a decision.
fn verdict(decision: Decision, profile: &Profile) -> u32 {
    match (decision, profile.refusal) {
        (Decision::Allow, _) => bpf::RET_ALLOW,
        (Decision::Kill, _) => bpf::RET_KILL_PROCESS,
        (Decision::Answer(errno), _) => bpf::RET_ERRNO | u32::from(errno),
        // The kernel does not look at the number here: it is for `Program::unobserved`.
        (Decision::Refuse(reason), Refusal::Notify) => bpf::RET_USER_NOTIF | u32::from(reason.errno(profile)),
        (Decision::Refuse(reason), Refusal::Errno) => bpf::RET_ERRNO | u32::from(reason.errno(profile)),
    }
}

/// A ruling in the filter's terms: several reasons to refuse may have one verdict.
#[derive(PartialEq)]
struct Answer {
    clauses: Vec<(Vec<Test>, u32)>,
    otherwise: u32,
}

impl Answer {
    fn plain(otherwise: u32) -> Answer {
        Answer { clauses: Vec::new(), otherwise }
    }

    fn of(ruling: Ruling, profile: &Profile) -> Answer {
        let clauses = ruling.clauses.into_iter().map(|clause| (clause.tests, verdict(clause.then, profile)));
        Answer { clauses: clauses.collect(), otherwise: verdict(ruling.otherwise, profile) }
    }
}

/// Calls from `first` up to the next range's have this answer.
struct Range {
    first: u32,
    answer: Answer,
}

/// Neighbours that get the same answer become one range; `absent` is the answer of all other numbers.
fn ranges(answers: impl Iterator<Item = (u32, Answer)>, absent: impl Fn() -> Answer) -> Vec<Range> {
    let mut ranges: Vec<Range> = Vec::new();
    let mut add = |first, answer| {
        if ranges.last().is_none_or(|last| last.answer != answer) {
            ranges.push(Range { first, answer });
        }
    };
    let mut next = 0;
    for (number, answer) in answers {
        if number > next {
            add(next, absent());
        }
        add(number, answer);
        next = number + 1;
    }
    add(next, absent());
    ranges
}

/// A balanced tree of comparisons over the ranges, of which there is at least one.
fn search(ranges: &[Range], code: &mut Assembler) -> Place {
    let (lower, upper) = ranges.split_at(ranges.len() / 2);
    match (lower, upper) {
        ([], [only, ..]) => answer(&only.answer, code),
        (_, [middle, ..]) => {
            let above = search(upper, code);
            let below = search(lower, code);
            code.branch(bpf::AT_LEAST, middle.first, above, below)
        }
        (_, []) => code.verdict(bpf::RET_KILL_PROCESS),
    }
}

fn answer(answer: &Answer, code: &mut Assembler) -> Place {
    let mut next = code.verdict(answer.otherwise);
    for (tests, then) in answer.clauses.iter().rev() {
        let mut place = code.verdict(*then);
        for test in tests.iter().rev() {
            place = compare(test, place, next, code);
        }
        next = place;
    }
    next
}

fn compare(test: &Test, holds: Place, fails: Place, code: &mut Assembler) -> Place {
    let (found, missed) = if test.holds_if_found { (holds, fails) } else { (fails, holds) };
    let values = test.values.iter().rev();
    let mut place = values.fold(missed, |missed, &value| code.branch(bpf::EQUAL, value, found, missed));
    if test.mask != u32::MAX {
        place = code.plain(bpf::AND, test.mask, place);
    }
    let half = if test.half == Half::High { 4 } else { 0 };
    code.plain(bpf::LOAD, bpf::ARGUMENTS + 8 * u32::from(test.argument) + half, place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::bpf::Insn;
    use crate::seccomp::interpreter::{Call, run};
    use crate::seccomp::tests::{any_profile, python};
    use crate::seccomp::{Exec, Processes, RefusedErrno, Sockets};
    use proptest::prelude::*;
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
        SeccompRule, TargetArch,
    };

    /// Arguments that rules look for, and any others.
    fn any_argument() -> impl Strategy<Value = u64> {
        let telling = [
            0,
            1,
            2,
            3,
            4,
            6,
            10,
            16,
            17,
            26,
            31,
            40,
            0o100,
            0o4755,
            0o2755,
            0o100_644,
            0o20_644,
            0x1000,
            0x5401,
            0x5412,
            0x5460,
            1024,
            1031,
            0x003d_0f00,
            0x1000_0011,
            0x8011,
            0x4_0022,
            1 << 31,
            2 << 31,
            3 << 31,
            0x5356_4d41,
            0x5961_6d61,
            0xffff_ffff,
            u64::MAX,
        ];
        let high = prop_oneof![3 => Just(0), 1 => any::<u32>()].prop_map(|high| u64::from(high) << 32);
        let known = (prop::sample::select(telling.to_vec()), high).prop_map(|(low, high)| low | high);
        prop_oneof![4 => known, 1 => any::<u64>()]
    }

    fn any_number() -> impl Strategy<Value = u32> {
        prop_oneof![8 => 0..480u32, 1 => any::<u32>(), 1 => (0..480u32).prop_map(|nr| nr | 0x4000_0000)]
    }

    /// What the policy says, without any program.
    fn expected(profile: &Profile, arch: Arch, call: Call) -> u32 {
        let foreign = arch.foreign_bit().is_some_and(|bit| call.nr & bit != 0);
        if call.arch != arch.audit() || foreign {
            return bpf::RET_KILL_PROCESS;
        }
        let decision = match crate::seccomp::name_of(call.nr, arch) {
            Some(name) => table::ruling_of(name, profile).decide(&call.args),
            None => Decision::ABSENT,
        };
        verdict(decision, profile)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

        #[test]
        fn a_program_does_what_the_policy_says(
            profile in any_profile(),
            arch in prop::sample::select(Arch::ALL.to_vec()),
            calls in prop::collection::vec((any_number(), prop::array::uniform6(any_argument())), 400),
            audit in prop_oneof![9 => Just(None), 1 => any::<u32>().prop_map(Some)],
        ) {
            let program = compile(&profile, arch);
            for (nr, args) in calls {
                let call = Call { nr, arch: audit.unwrap_or(arch.audit()), args };
                prop_assert_eq!(run(&program.insns, call).0, expected(&profile, arch, call), "{:?}", call);
            }
        }

        #[test]
        fn the_kernel_would_accept_every_program(
            profile in any_profile(),
            arch in prop::sample::select(Arch::ALL.to_vec()),
        ) {
            let insns = compile(&profile, arch).insns;
            prop_assert!(insns.len() < 600, "{} instructions", insns.len());
            prop_assert_eq!(insns.last().map(|last| last.code), Some(bpf::RETURN));
            for (at, insn) in insns.iter().enumerate().filter(|(_, insn)| insn.code != bpf::RETURN) {
                let farthest = match insn.code {
                    bpf::JUMP => insn.k as usize,
                    _ => usize::from(insn.jt.max(insn.jf)),
                };
                prop_assert!(at + 1 + farthest < insns.len());
            }
        }
    }

    #[test]
    fn only_what_is_listed_is_allowed() {
        for listed in [vec![0], vec![1, 2, 3], vec![0, 1, 7, 8, 231], vec![60]] {
            for arch in Arch::ALL {
                let program = allow_only(listed.iter().rev().copied(), arch);
                for nr in 0..300u32 {
                    let (verdict, _) = run(&program.insns, Call { nr, arch: arch.audit(), args: [0; 6] });
                    assert_eq!(verdict == bpf::RET_ALLOW, listed.contains(&(nr as usize)), "{listed:?} {nr}");
                    assert!([bpf::RET_ALLOW, bpf::RET_KILL_PROCESS].contains(&verdict));
                }
            }
        }
    }

    #[test]
    fn calls_of_other_architectures_die() {
        for arch in Arch::ALL {
            let program = compile(&python(), arch);
            // i386, 32-bit Arm.
            for audit in [0x4000_0003, 0x4000_0028] {
                let call = Call { nr: 0, arch: audit, args: [0; 6] };
                assert_eq!(run(&program.insns, call).0, bpf::RET_KILL_PROCESS);
            }
        }
        let x32 = Call { nr: 0x4000_0000, arch: Arch::X86_64.audit(), args: [0; 6] };
        assert_eq!(run(&compile(&python(), Arch::X86_64).insns, x32).0, bpf::RET_KILL_PROCESS);
    }

    #[test]
    fn a_plain_call_costs_few_instructions() {
        let plain = |ruling: &Ruling| ruling.clauses.is_empty();
        for arch in Arch::ALL {
            let program = compile(&python(), arch);
            for (nr, _) in table::rulings(&python(), arch).filter(|(_, ruling)| plain(ruling)) {
                let (_, steps) = run(&program.insns, Call { nr, arch: arch.audit(), args: [0; 6] });
                assert!(steps <= 20, "{nr} takes {steps} instructions");
            }
        }
    }

    /// The same policy through another compiler, for what its one action per filter can say.
    fn by_seccompiler(arch: Arch, target: TargetArch) -> Vec<Insn> {
        let condition = |op, value| SeccompCondition::new(0, SeccompCmpArgLen::Dword, op, value).unwrap();
        let mut rules: std::collections::BTreeMap<i64, Vec<SeccompRule>> = table::rulings(&python(), arch)
            .filter(|(_, ruling)| ruling.clauses.is_empty() && ruling.otherwise == Decision::Allow)
            .map(|(nr, _)| (i64::from(nr), vec![]))
            .collect();
        let number =
            |name: &str| arch.calls().iter().find(|call| call.0 == name).map(|call| i64::from(call.1));
        let contained = condition(SeccompCmpOp::MaskedEq(0x7e02_8000), 0);
        rules.insert(number("clone").unwrap(), vec![SeccompRule::new(vec![contained]).unwrap()]);
        let local = condition(SeccompCmpOp::Eq, 1);
        rules.insert(number("socket").unwrap(), vec![SeccompRule::new(vec![local]).unwrap()]);
        let (mismatch, matched) = (SeccompAction::Errno(38), SeccompAction::Allow);
        let filter: BpfProgram =
            SeccompFilter::new(rules, mismatch, matched, target).unwrap().try_into().unwrap();
        filter.iter().map(|i| Insn { code: i.code, jt: i.jt, jf: i.jf, k: i.k }).collect()
    }

    #[test]
    fn seccompiler_agrees() {
        for (arch, target) in [(Arch::X86_64, TargetArch::x86_64), (Arch::Aarch64, TargetArch::aarch64)] {
            let (ours, theirs) = (compile(&python(), arch).insns, by_seccompiler(arch, target));
            let both: Vec<_> = table::rulings(&python(), arch).collect();
            let comparable = |nr: u32, name: Option<&str>| {
                matches!(name, Some("clone" | "socket"))
                    || both.iter().all(|(number, ruling)| *number != nr || ruling.clauses.is_empty())
            };
            for nr in (0..600).filter(|&nr| comparable(nr, crate::seccomp::name_of(nr, arch))) {
                for first in [0, 1, 2, 0x003d_0f00, 0x1000_0000, 0x8000, 0xffff_ffff, 1 << 32, 1 | 1 << 32] {
                    let call = Call { nr, arch: arch.audit(), args: [first, 0, 0, 0, 0, 0] };
                    let allowed = |insns| run(insns, call).0 == bpf::RET_ALLOW;
                    assert_eq!(allowed(&ours), allowed(&theirs), "{nr} {first:#x}");
                }
            }
        }
    }

    #[test]
    fn without_a_listener_it_is_the_program_of_plain_refusals() {
        for arch in Arch::ALL {
            for refused_errno in [RefusedErrno::Eperm, RefusedErrno::Eacces] {
                let with = |refusal| Profile { refusal, refused_errno, ..python() };
                let observed = compile(&with(Refusal::Notify), arch);
                let plain = compile(&with(Refusal::Errno), arch);
                for nr in 0..600 {
                    let call = Call { nr, arch: arch.audit(), args: [1; 6] };
                    let (got, expected) =
                        (run(&observed.unobserved().insns, call).0, run(&plain.insns, call).0);
                    assert_eq!(got, expected, "{nr}");
                }
            }
        }
    }

    #[test]
    fn refusals_are_notified_where_somebody_listens() {
        let loud = Profile { refusal: Refusal::Notify, sockets: Sockets::None, ..python() };
        let program =
            compile(&Profile { exec: Exec::Never, processes: Processes::Single, ..loud }, Arch::X86_64);
        let verdict = |nr| run(&program.insns, Call { nr, arch: Arch::X86_64.audit(), args: [1; 6] }).0;
        for refused in [41, 56, 57, 59, 101, 165, 321, 322] {
            assert_eq!(verdict(refused) & bpf::ACTION, bpf::RET_USER_NOTIF, "{refused}");
        }
        assert_eq!(verdict(435), bpf::RET_ERRNO | 38);
        assert_eq!(verdict(162), bpf::RET_ERRNO, "sync is pretended");
    }
}
