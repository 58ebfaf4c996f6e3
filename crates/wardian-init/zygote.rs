//! The extension module that a zygote's harness loads; compiled and embedded by the build script of the `wardian` crate.
#![no_std]

wardian_sys::library! {
    PyInit_wardian_zygote, c"wardian_zygote",
    start => wardian_init::zygote::start,
    alone => wardian_init::zygote::alone,
    gather => wardian_init::zygote::gather,
    ready => wardian_init::zygote::ready,
    next => wardian_init::zygote::next,
    forked => wardian_init::zygote::forked,
    enter => wardian_init::zygote::enter,
}
