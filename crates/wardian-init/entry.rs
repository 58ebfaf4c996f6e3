//! The `wardian-init` binary; compiled and embedded by the build script of the `wardian` crate.
#![no_std]
#![no_main]

wardian_sys::entry!(wardian_init::main);
