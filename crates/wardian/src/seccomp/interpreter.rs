//! A BPF interpreter for tests: the subset of classic BPF that seccomp accepts and we emit.

use super::Insn;
use super::bpf;

/// What a filter sees of a call (`struct seccomp_data`, without the instruction pointer).
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) nr: u32,
    pub(super) arch: u32,
    pub(super) args: [u64; 6],
}

impl Call {
    fn word(&self, offset: u32) -> u32 {
        match offset {
            bpf::NUMBER => self.nr,
            bpf::ARCHITECTURE => self.arch,
            _ => {
                let word = (offset - bpf::ARGUMENTS) / 4;
                let value = self.args[word as usize / 2];
                let half = if word.is_multiple_of(2) { value & 0xffff_ffff } else { value >> 32 };
                u32::try_from(half).expect("half a register has 32 bits")
            }
        }
    }
}

/// The verdict, and how many instructions it took; panics on what the kernel would not accept.
pub(super) fn run(program: &[Insn], call: Call) -> (u32, usize) {
    let (mut at, mut accumulator) = (0, 0u32);
    for steps in 1.. {
        let insn = program[at];
        at += 1;
        let test = |holds: bool| usize::from(if holds { insn.jt } else { insn.jf });
        match insn.code {
            bpf::LOAD => accumulator = call.word(insn.k),
            bpf::AND => accumulator &= insn.k,
            bpf::JUMP => at += insn.k as usize,
            bpf::EQUAL => at += test(accumulator == insn.k),
            bpf::AT_LEAST => at += test(accumulator >= insn.k),
            bpf::ANY_BIT => at += test(accumulator & insn.k != 0),
            bpf::RETURN => return (insn.k, steps),
            code => panic!("unknown instruction {code:#x}"),
        }
    }
    unreachable!("every jump goes forward")
}
