//! `wardian-init`: the tiny static helper that is pid 1 inside a sandbox. Trusted; the guest is its child.
//!
//! # What it does
//! The supervisor executes it from a sealed memfd in new namespaces, with its descriptors in *seats* (seat
//! `i` is descriptor `3 + i`): the control socket in seat 0. Init does what the supervisor's first message, the
//! [`Opening`], says. Then come the two halves of the plan, each in a memfd, with whatever it refers to in
//! the seats after that: the [`Step`]s, by when its ids are mapped, which it executes in order, and the guest,
//! which it starts. (Between them lies a seat for a descriptor of init's own.) It gives up all it has, and then only
//! reaps and watches: when the guest has ended it reports how, when the supervisor's end of the control socket closes it
//! ends. Either way its own end takes everything inside with it.
//!
//! # What it does not
//! It decides nothing: the plan is data, checked before. It has no C library, no allocator, no thread-local
//! storage and no environment, reads nothing that the guest has written, and never runs guest code in its
//! own memory.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(test, feature = "supervisor"))]
extern crate alloc;

mod codec;
pub mod fork;
mod message;
mod opening;
mod part;
mod plan;
mod stage;

// The supervisor uses the protocol; what follows is init itself, which is never linked with a C library.
#[cfg(not(feature = "supervisor"))]
mod guest;
#[cfg(not(feature = "supervisor"))]
mod life;
#[cfg(not(feature = "supervisor"))]
mod networks;
#[cfg(not(feature = "supervisor"))]
mod setup;
#[cfg(not(feature = "supervisor"))]
mod slot;
#[cfg(not(feature = "supervisor"))]
mod watch;
#[cfg(not(feature = "supervisor"))]
pub mod zygote;
#[cfg(not(feature = "supervisor"))]
mod zygote_init;

pub use codec::List;
#[cfg(not(feature = "supervisor"))]
pub use life::main;
pub use message::{MESSAGE_BYTES, Message, Usage};
pub use opening::Opening;
pub use part::Part;
#[cfg(feature = "supervisor")]
pub use plan::encode::{EncodedSteps, GuestSpec, SlotsSpec, encode};
pub use plan::{Exec, Guest, LandlockRule, Plan, Rlimit, Seat, Slots, Step, decode_steps};
pub use stage::Stage;
pub use wardian_sys::landlock::Handled;

/// The seat of the control socket: messages to the supervisor, go from it, and the lifeline.
pub const CONTROL: Seat = Seat(0);
/// The seat of the sealed memfd that holds the encoded steps.
pub const STEPS: Seat = Seat(1);
/// The first seat that steps may use as they like.
pub const FIRST_FREE: u32 = 2;

/// The first byte of an order to a slot's init: make a directory, then 4 bytes of its mode and its path.
pub const ORDER_DIRECTORY: u8 = 1;
/// The first byte of an order to a slot's init, with a descriptor: make a file, then 4 bytes of its mode and its path.
pub const ORDER_FILE: u8 = 2;
/// The first byte of an order to a slot's init: there are no more orders.
pub const ORDER_ARM: u8 = 3;
/// The first byte of an order to a slot's init: resize the file system of scratch space, to the bytes that follow as a
/// NUL-terminated number; then a path in it.
pub const ORDER_RESIZE: u8 = 4;
/// Most bytes of an order.
pub const ORDER_BYTES: usize = 4400;

/// Most slots of a zygote at once.
pub const MOST_SLOTS: usize = 1024;

/// Most descriptors with an order.
pub const MOST_PASSED: usize = 16;
