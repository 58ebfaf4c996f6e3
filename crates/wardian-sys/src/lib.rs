//! Raw Linux system calls, each as a small typed function; no policy lives here.
#![cfg_attr(not(feature = "std"), no_std)]
