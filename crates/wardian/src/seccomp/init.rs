//! The filter of `wardian-init` itself, once the guest runs: reap, watch, report, exit.

use super::{Arch, compile};
use wardian_sys::nr;

const ALLOWED: [usize; 8] =
    [nr::READ, nr::WRITE, nr::WAIT4, nr::PPOLL, nr::SIGNALFD4, nr::KILL, nr::CLOSE, nr::EXIT_GROUP];

/// The program as the kernel takes it; any other call ends init, and the sandbox with it. Without a pid namespace
/// (`in_place`) init also reads, again and again, which children it has.
pub fn init_program(in_place: bool) -> Vec<u8> {
    let more = in_place.then_some(nr::PREAD64);
    compile::allow_only(ALLOWED.into_iter().chain(more), Arch::current()).to_bytes()
}
