//! The filter of `wardian-init` itself, once the guest runs: reap, watch, report, exit.

use super::Arch;
use super::bpf::{self, Insn, Program};
use wardian_sys::nr;

const ALLOWED: [usize; 8] =
    [nr::READ, nr::WRITE, nr::WAIT4, nr::PPOLL, nr::SIGNALFD4, nr::KILL, nr::CLOSE, nr::EXIT_GROUP];

/// The program as the kernel takes it; any other call ends init, and the sandbox with it. Without a pid namespace
/// (`in_place`) init also reads, again and again, which children it has.
pub fn init_program(in_place: bool) -> Vec<u8> {
    let mut insns = vec![
        Insn::plain(bpf::LOAD, bpf::ARCHITECTURE),
        Insn::test(bpf::EQUAL, Arch::current().audit(), 1, 0),
        Insn::plain(bpf::RETURN, bpf::RET_KILL_PROCESS),
        Insn::plain(bpf::LOAD, bpf::NUMBER),
    ];
    let more = in_place.then_some(nr::PREAD64);
    for number in ALLOWED.into_iter().chain(more) {
        insns.push(Insn::test(bpf::EQUAL, u32::try_from(number).unwrap_or(u32::MAX), 0, 1));
        insns.push(Insn::plain(bpf::RETURN, bpf::RET_ALLOW));
    }
    insns.push(Insn::plain(bpf::RETURN, bpf::RET_KILL_PROCESS));
    Program { insns }.to_bytes()
}
