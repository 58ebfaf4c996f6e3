//! Writes a program backwards: whatever a jump leads to is there already, and its distance known.

use super::bpf::{self, Insn, Program};

/// How far a comparison can jump.
const REACH: usize = u8::MAX as usize;

/// Where an instruction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(usize);

/// A program, last instruction first.
#[derive(Default)]
pub(super) struct Assembler {
    backwards: Vec<Insn>,
    /// Where each verdict was written last.
    verdicts: Vec<(u32, Place)>,
}

impl Assembler {
    /// An instruction, and where to go on after it.
    pub(super) fn plain(&mut self, code: u16, k: u32, then: Place) -> Place {
        if self.distance(then) > 0 {
            self.jump(then);
        }
        self.write(Insn::plain(code, k))
    }

    /// An end with this verdict. Installing a filter takes the kernel time for every instruction, so one that is near
    /// enough is used again.
    pub(super) fn verdict(&mut self, k: u32) -> Place {
        self.verdict_within_reach(k, 0)
    }

    fn verdict_within_reach(&mut self, k: u32, more: usize) -> Place {
        let known = self.verdicts.iter().find(|(verdict, _)| *verdict == k).map(|(_, place)| *place);
        if let Some(place) = known.filter(|place| self.distance(*place) + more <= REACH) {
            return place;
        }
        let place = self.write(Insn::plain(bpf::RETURN, k));
        self.verdicts.retain(|(verdict, _)| *verdict != k);
        self.verdicts.push((k, place));
        place
    }

    /// A comparison, and where to go on.
    pub(super) fn branch(&mut self, code: u16, k: u32, yes: Place, no: Place) -> Place {
        // What one of them writes takes the other farther away.
        let yes = self.within_reach(yes, 1);
        let no = self.within_reach(no, 0);
        let [jt, jf] = [yes, no].map(|to| {
            u8::try_from(self.distance(to)).expect("what is to be within reach is within 255 instructions")
        });
        self.write(Insn::test(code, k, jt, jf))
    }

    /// The program that starts there.
    pub(super) fn finish(mut self, start: Place) -> Program {
        if self.distance(start) > 0 {
            self.jump(start);
        }
        Program { insns: self.backwards.into_iter().rev().collect() }
    }

    /// The same place, or one that does the same, which stays within reach of the next comparison though some more
    /// instructions come between.
    fn within_reach(&mut self, place: Place, more: usize) -> Place {
        if self.distance(place) + more <= REACH {
            return place;
        }
        match self.backwards.get(place.0) {
            Some(&Insn { code: bpf::RETURN, k, .. }) => self.verdict_within_reach(k, more),
            _ => self.jump(place),
        }
    }

    /// How many instructions a jump that is written next skips on its way.
    fn distance(&self, to: Place) -> usize {
        self.backwards.len() - to.0 - 1
    }

    /// Reaches any distance.
    fn jump(&mut self, to: Place) -> Place {
        let distance = u32::try_from(self.distance(to)).unwrap_or(u32::MAX);
        self.write(Insn::plain(bpf::JUMP, distance))
    }

    fn write(&mut self, insn: Insn) -> Place {
        self.backwards.push(insn);
        Place(self.backwards.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::interpreter::{Call, run};

    /// Compares with each of many numbers, from the highest down, so that the verdicts come to lie far away.
    #[test]
    fn whatever_is_too_far_is_brought_near() {
        let mut code = Assembler::default();
        let (found, missed) = (code.verdict(1), code.verdict(2));
        let far = code.branch(bpf::EQUAL, 1_000, found, missed);
        let mut next = code.verdict(3);
        for number in (0..700).rev() {
            let to = if number % 350 == 0 { far } else { found };
            next = code.branch(bpf::EQUAL, number, to, next);
        }
        let start = code.plain(bpf::LOAD, bpf::NUMBER, next);
        let insns = code.finish(start).insns;
        assert!(insns.len() < 720, "{}", insns.len());
        let verdict = |nr| run(&insns, Call { nr, arch: 0, args: [0; 6] }).0;
        assert_eq!([0, 1, 349, 350, 351, 699, 700, 1_000].map(verdict), [2, 1, 1, 2, 1, 1, 3, 3]);
    }

    #[test]
    fn a_verdict_that_is_near_is_written_once() {
        let mut code = Assembler::default();
        let (one, two) = (code.verdict(1), code.verdict(2));
        assert_eq!((code.verdict(1), code.verdict(2)), (one, two));
        let far = (0..REACH).fold(one, |place, _| code.plain(bpf::AND, 0, place));
        assert_ne!(code.verdict(1), one);
        // Whatever was written last, it begins where it is told to.
        assert_eq!(run(&code.finish(far).insns, Call { nr: 0, arch: 0, args: [0; 6] }).0, 1);
    }
}
