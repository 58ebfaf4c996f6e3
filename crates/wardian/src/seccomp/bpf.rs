//! The seccomp dialect of classic BPF: instructions and the few that we use.
//!
//! Sources: `linux/filter.h`, `linux/bpf_common.h`, `linux/seccomp.h`; seccomp(2).

/// One instruction (`struct sock_filter`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Insn {
    /// The operation.
    pub code: u16,
    /// How many instructions to skip if a comparison holds.
    pub jt: u8,
    /// How many instructions to skip if it does not.
    pub jf: u8,
    /// The constant.
    pub k: u32,
}

/// A filter program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its instructions; at most 4,096 (`BPF_MAXINSNS`).
    pub insns: Vec<Insn>,
}

impl Program {
    /// The same program for where nobody can listen: what would have been notified fails with its error number.
    #[must_use]
    pub fn unobserved(&self) -> Program {
        let mut insns = self.insns.clone();
        for insn in insns.iter_mut().filter(|insn| insn.code == RETURN && insn.k & ACTION == RET_USER_NOTIF) {
            insn.k = RET_ERRNO | insn.k & !ACTION;
        }
        Program { insns }
    }

    /// The program as the kernel takes it: 8 bytes an instruction, in native byte order.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.insns.len() * 8);
        for insn in &self.insns {
            bytes.extend_from_slice(&insn.code.to_ne_bytes());
            bytes.extend_from_slice(&[insn.jt, insn.jf]);
            bytes.extend_from_slice(&insn.k.to_ne_bytes());
        }
        bytes
    }
}

/// A = the 32-bit word at `k` of `struct seccomp_data`.
pub(super) const LOAD: u16 = 0x20;
/// A = A & k.
pub(super) const AND: u16 = 0x54;
/// Skip k instructions.
pub(super) const JUMP: u16 = 0x05;
/// Is A = k?
pub(super) const EQUAL: u16 = 0x15;
/// Is A ≥ k, unsigned?
pub(super) const AT_LEAST: u16 = 0x35;
/// Is A & k ≠ 0?
pub(super) const ANY_BIT: u16 = 0x45;
/// End with the verdict k.
pub(super) const RETURN: u16 = 0x06;

/// Where `struct seccomp_data` has the system call's number.
pub(super) const NUMBER: u32 = 0;
/// Where it has the architecture.
pub(super) const ARCHITECTURE: u32 = 4;
/// Where its arguments begin, 8 bytes each, in native byte order.
pub(super) const ARGUMENTS: u32 = 16;

/// What of a verdict says what to do; the rest is data.
pub(super) const ACTION: u32 = 0xffff_0000;
pub(super) const RET_KILL_PROCESS: u32 = 0x8000_0000;
pub(super) const RET_ERRNO: u32 = 0x0005_0000;
pub(super) const RET_USER_NOTIF: u32 = 0x7fc0_0000;
pub(super) const RET_ALLOW: u32 = 0x7fff_0000;

impl Insn {
    /// An instruction that does not branch.
    pub(super) const fn plain(code: u16, k: u32) -> Self {
        Self { code, jt: 0, jf: 0, k }
    }

    /// A comparison that skips `yes` or `no` instructions.
    pub(super) const fn test(code: u16, k: u32, yes: u8, no: u8) -> Self {
        Self { code, jt: yes, jf: no, k }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instruction_takes_eight_bytes() {
        let program = Program { insns: vec![Insn::test(EQUAL, 0x0102_0304, 5, 6)] };
        let mut expected = vec![0x15, 0, 5, 6];
        expected.extend_from_slice(&0x0102_0304_u32.to_ne_bytes());
        assert_eq!(program.to_bytes(), expected);
    }
}
