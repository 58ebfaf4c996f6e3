//! The pid-1 helper of a sandbox.
#![no_std]
#![forbid(unsafe_code)]
