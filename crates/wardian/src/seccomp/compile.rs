//! From a profile to a BPF program.
//!
//! The program checks the architecture, then finds the call by a binary search over ranges of numbers that get
//! the same answer, and only for the few calls whose arguments matter looks at those. Calls that are allowed
//! whatever their arguments reach their verdict without loading any, so the kernel remembers them in a bitmap
//! and skips the program (since 5.11).

use super::bpf::{self, Insn, Program};
use super::ruling::{Clause, Decision, Half, Ruling, Test};
use super::{Arch, Profile, Refusal, table};

/// Compiles the filter of a profile.
pub fn compile(profile: &Profile, arch: Arch) -> Program {
    let target = |decision| verdict(decision, profile);
    let (ranges, answers) = ranges(table::rulings(profile, arch), &target);
    let mut insns = vec![
        Insn::plain(bpf::LOAD, bpf::ARCHITECTURE),
        Insn::test(bpf::EQUAL, arch.audit(), 1, 0),
        Insn::plain(bpf::RETURN, bpf::RET_KILL_PROCESS),
        Insn::plain(bpf::LOAD, bpf::NUMBER),
    ];
    if let Some(bit) = arch.foreign_bit() {
        insns.push(Insn::test(bpf::ANY_BIT, bit, 0, 1));
        insns.push(Insn::plain(bpf::RETURN, bpf::RET_KILL_PROCESS));
    }
    let mut backwards = Vec::with_capacity(answers.len() + 2 * ranges.len());
    search(&ranges, &answers, &mut backwards);
    insns.extend(backwards.into_iter().rev());
    Program { insns }
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

/// Calls from `first` up to the next range's have this answer, a part of all answers.
struct Range {
    first: u32,
    answer: std::ops::Range<usize>,
}

/// Neighbours that get the same answer become one range. Answers are backwards, last instruction first, as is all
/// code until it is complete: how far a jump goes is known only when what it skips is there.
fn ranges(
    rulings: impl Iterator<Item = (u32, Ruling)>,
    verdict: &dyn Fn(Decision) -> u32,
) -> (Vec<Range>, Vec<Insn>) {
    let mut ranges: Vec<Range> = Vec::new();
    let mut answers = Vec::new();
    let mut add = |first, ruling: &Ruling| {
        let start = answers.len();
        answer(ruling, verdict, &mut answers);
        let same = |last: &Range| answers.get(last.answer.clone()) == answers.get(start..);
        if ranges.last().is_some_and(same) {
            answers.truncate(start);
        } else {
            ranges.push(Range { first, answer: start..answers.len() });
        }
    };
    let unknown = Ruling::from(Decision::ABSENT);
    let mut next = 0;
    for (number, ruling) in rulings {
        if number > next {
            add(next, &unknown);
        }
        add(number, &ruling);
        next = number + 1;
    }
    add(next, &unknown);
    (ranges, answers)
}

/// A balanced tree of comparisons over the ranges, backwards.
fn search(ranges: &[Range], answers: &[Insn], code: &mut Vec<Insn>) {
    let (lower, upper) = ranges.split_at(ranges.len() / 2);
    let (Some(_), Some(middle)) = (lower.first(), upper.first()) else {
        let answer = upper.first().and_then(|range| answers.get(range.answer.clone()));
        return code.extend_from_slice(answer.unwrap_or_default());
    };
    search(upper, answers, code);
    let above = code.len();
    search(lower, answers, code);
    let skipped = code.len() - above;
    match u8::try_from(skipped) {
        Ok(skip) => code.push(Insn::test(bpf::AT_LEAST, middle.first, skip, 0)),
        // Conditional jumps reach 255 instructions; this one goes on to an unconditional jump.
        Err(_) => code.extend([
            Insn::plain(bpf::JUMP, u32::try_from(skipped).unwrap_or(u32::MAX)),
            Insn::test(bpf::AT_LEAST, middle.first, 0, 1),
        ]),
    }
}

/// A ruling, backwards.
fn answer(ruling: &Ruling, verdict: &dyn Fn(Decision) -> u32, code: &mut Vec<Insn>) {
    code.push(Insn::plain(bpf::RETURN, verdict(ruling.otherwise)));
    for clause in ruling.clauses.iter().rev() {
        conditional(clause, verdict, code);
    }
}

/// A clause, backwards: what is there of it already is what a failing test must skip.
fn conditional(clause: &Clause, verdict: &dyn Fn(Decision) -> u32, code: &mut Vec<Insn>) {
    let end = code.len();
    code.push(Insn::plain(bpf::RETURN, verdict(clause.then)));
    for test in clause.tests.iter().rev() {
        compare(test, code.len() - end, code);
    }
}

/// Goes on if the test holds, else skips `fail` more instructions; backwards.
fn compare(test: &Test, fail: usize, code: &mut Vec<Insn>) {
    for (left, &value) in test.values.iter().rev().enumerate() {
        let (found, missed) = if test.holds_if_found { (0, fail) } else { (fail, 0) };
        let missed = if left == 0 { missed } else { 0 };
        code.push(Insn::test(bpf::EQUAL, value, distance(left + found), distance(missed)));
    }
    if test.mask != u32::MAX {
        code.push(Insn::plain(bpf::AND, test.mask));
    }
    let half = if test.half == Half::High { 4 } else { 0 };
    code.push(Insn::plain(bpf::LOAD, bpf::ARGUMENTS + 8 * u32::from(test.argument) + half));
}

/// A jump within one clause; a test walks every clause of every profile, so none is longer.
fn distance(instructions: usize) -> u8 {
    u8::try_from(instructions).expect("a clause has fewer than 256 instructions")
}

#[cfg(test)]
mod tests {
    use super::*;
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
            prop_assert!(insns.len() < 1000, "{} instructions", insns.len());
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
