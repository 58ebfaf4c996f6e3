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
    let dispatch = search(&ranges(&table::rulings(profile, arch), &target));
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
    insns.extend(dispatch);
    Program { insns }
}

/// The filter's return value for a decision.
fn verdict(decision: Decision, profile: &Profile) -> u32 {
    match (decision, profile.refusal) {
        (Decision::Allow, _) => bpf::RET_ALLOW,
        (Decision::Kill, _) => bpf::RET_KILL_PROCESS,
        (Decision::Answer(errno), _) => bpf::RET_ERRNO | u32::from(errno),
        (Decision::Refuse(_), Refusal::Notify) => bpf::RET_USER_NOTIF,
        (Decision::Refuse(reason), Refusal::Errno) => bpf::RET_ERRNO | u32::from(reason.errno(profile)),
    }
}

/// Calls from `first` up to the next range's are answered by `code`.
struct Range {
    first: u32,
    code: Vec<Insn>,
}

/// Neighbours that get the same answer become one range.
fn ranges(rulings: &[(u32, Ruling)], verdict: &dyn Fn(Decision) -> u32) -> Vec<Range> {
    let unknown = vec![Insn::plain(bpf::RETURN, verdict(Decision::ABSENT))];
    let mut ranges = vec![Range { first: 0, code: unknown.clone() }];
    let mut add = |first: u32, code: Vec<Insn>| match ranges.last_mut() {
        Some(last) if last.first == first => last.code = code,
        Some(last) if last.code == code => {}
        _ => ranges.push(Range { first, code }),
    };
    for (number, ruling) in rulings {
        add(*number, answer(ruling, verdict));
        // A gap in the numbers is not the neighbour's; the next call, if there is none, replaces this range.
        add(number + 1, unknown.clone());
    }
    merge(ranges)
}

/// Joins equal neighbours, which replacing a range may have made.
fn merge(mut ranges: Vec<Range>) -> Vec<Range> {
    ranges.dedup_by(|later, earlier| later.code == earlier.code);
    ranges
}

/// A balanced tree of comparisons over the ranges.
fn search(ranges: &[Range]) -> Vec<Insn> {
    let (lower, upper) = ranges.split_at(ranges.len() / 2);
    let (Some(_), Some(middle)) = (lower.first(), upper.first()) else {
        return upper.first().map(|range| range.code.clone()).unwrap_or_default();
    };
    let (lower, higher) = (search(lower), search(upper));
    let mut code = match u8::try_from(lower.len()) {
        Ok(skip) => vec![Insn::test(bpf::AT_LEAST, middle.first, skip, 0)],
        // Conditional jumps reach 255 instructions; this one goes on to an unconditional jump.
        Err(_) => vec![
            Insn::test(bpf::AT_LEAST, middle.first, 0, 1),
            Insn::plain(bpf::JUMP, u32::try_from(lower.len()).unwrap_or(u32::MAX)),
        ],
    };
    code.extend(lower);
    code.extend(higher);
    code
}

fn answer(ruling: &Ruling, verdict: &dyn Fn(Decision) -> u32) -> Vec<Insn> {
    let mut code: Vec<Insn> = ruling.clauses.iter().flat_map(|clause| conditional(clause, verdict)).collect();
    code.push(Insn::plain(bpf::RETURN, verdict(ruling.otherwise)));
    code
}

/// A clause, from its end: what is there already is what a failing test must skip.
fn conditional(clause: &Clause, verdict: &dyn Fn(Decision) -> u32) -> Vec<Insn> {
    let mut code = vec![Insn::plain(bpf::RETURN, verdict(clause.then))];
    for test in clause.tests.iter().rev() {
        let mut longer = compare(test, code.len());
        longer.append(&mut code);
        code = longer;
    }
    code
}

/// Goes on if the test holds, else skips `fail` more instructions.
fn compare(test: &Test, fail: usize) -> Vec<Insn> {
    let half = if test.half == Half::High { 4 } else { 0 };
    let mut code = vec![Insn::plain(bpf::LOAD, bpf::ARGUMENTS + 8 * u32::from(test.argument) + half)];
    if test.mask != u32::MAX {
        code.push(Insn::plain(bpf::AND, test.mask));
    }
    for (at, &value) in test.values.iter().enumerate() {
        let left = test.values.len() - 1 - at;
        let (found, missed) = if test.holds_if_found { (0, fail) } else { (fail, 0) };
        let missed = if left == 0 { missed } else { 0 };
        code.push(Insn::test(bpf::EQUAL, value, distance(left + found), distance(missed)));
    }
    code
}

/// A jump within one clause; a test walks every clause of every profile, so none is longer.
fn distance(instructions: usize) -> u8 {
    u8::try_from(instructions).expect("a clause has fewer than 256 instructions")
}
