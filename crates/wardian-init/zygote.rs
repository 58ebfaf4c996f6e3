//! The shared object that a zygote's harness loads; compiled and embedded by the build script of the `wardian` crate.
#![no_std]

wardian_sys::library! {
    wardian_start => wardian_init::zygote::start,
    wardian_alone => wardian_init::zygote::alone,
    wardian_ready => wardian_init::zygote::ready,
    wardian_next => wardian_init::zygote::next,
    wardian_forked => wardian_init::zygote::forked,
    wardian_enter => wardian_init::zygote::enter,
}
