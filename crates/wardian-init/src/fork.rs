//! Where an order to fork brings its descriptors: always the same numbers, which nobody else in a zygote uses.

use crate::Seat;

/// The pidfd of the slot's init.
pub const INIT: Seat = Seat(0);
/// The control socket of the slot's init.
pub const CONTROL: Seat = Seat(1);
/// The guest's channel.
pub const CHANNEL: Seat = Seat(2);
/// The guest's standard input, output, error.
pub const STDIO: [Seat; 3] = [Seat(3), Seat(4), Seat(5)];
/// The guest's result channel, which it closes if nobody wants a result.
pub const RESULT: Seat = Seat(6);
/// The first of those after them: files of its cgroup that the child writes `0` to.
pub const JOINS: u32 = 7;
