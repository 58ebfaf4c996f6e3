//! What init and the guest's child-side code tell the supervisor: fixed-size messages over a packet socket.

#[cfg(not(feature = "supervisor"))]
use wardian_sys::{Errno, Fd, file, socket};

const WORDS: usize = 12;
/// Bytes of every message.
pub const MESSAGE_BYTES: usize = WORDS * 8;

/// What reaped processes used, summed; as init saw it when they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// User CPU time in microseconds.
    pub cpu_user_us: u64,
    /// System CPU time in microseconds.
    pub cpu_system_us: u64,
    /// Largest resident set of a single process in bytes.
    pub max_rss_bytes: u64,
    /// Page faults without I/O.
    pub minor_faults: u64,
    /// Page faults with I/O.
    pub major_faults: u64,
    /// Context switches by waiting.
    pub voluntary_switches: u64,
    /// Context switches by the scheduler.
    pub involuntary_switches: u64,
}

/// One message; here and below in the order of their first words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// A step could not be done; init ends.
    Failed {
        /// Index of the plan's step, or the number of a [`Part`](crate::Part).
        step: u32,
        /// The error number.
        errno: i32,
    },
    /// An optional step could not be done; init goes on.
    Degraded {
        /// Index of the plan's step.
        step: u32,
        /// The error number.
        errno: i32,
    },
    /// Carries a descriptor of a directory that the plan says to hand out.
    Directory,
    /// From the guest's child-side code: carries the seccomp listener.
    Listener,
    /// The guest has ended; init ends.
    Exited {
        /// Raw wait status.
        status: i32,
        /// The guest's use, and that of everything init reaped.
        usage: Usage,
    },
    /// From the guest's child-side code: it could not execute the program, and ends.
    NotStarted {
        /// [`Stage`](crate::Stage) as a number.
        stage: u32,
        /// The error number.
        errno: i32,
    },
    /// From the guest's child-side code: there is a seccomp listener above us already, and can be but one; the filter
    /// without one is on.
    Unobserved,
    /// From a zygote: it has loaded everything. From a guest forked from it: it is confined, and waits for its program.
    Ready,
    /// Carries a pidfd of a slot's init, whose ids are mapped; it waits for its go.
    Init {
        /// Its pid, as the zygote's pid namespace numbers it.
        pid: i32,
    },
    /// A slot's init has done its steps, and waits for orders.
    Prepared,
    /// A slot's init has carried out every order there was before the last.
    Armed,
    /// What a slot's init has reaped itself, at the ordered end.
    Reaped {
        /// The use of everything that was reaped.
        usage: Usage,
    },
    /// To a zygote's init, with a control socket: make a slot.
    NewSlot {
        /// The guest's id in the zygote's user namespace.
        guest: u32,
    },
    /// To a zygote, with its plan's sealed memfd.
    Plan {
        /// How long it is.
        bytes: u64,
    },
    /// To a zygote, with a slot's pidfd, control socket, channel, streams and cgroups: fork.
    Fork {
        /// Whether the child has time to rehearse; not if somebody waits for it.
        rehearses: bool,
    },
    /// From a zygote: carries a pidfd of the child in a slot. From its init: one of the zygote.
    Child {
        /// Its pid, as the zygote's pid namespace numbers it.
        pid: i32,
    },
}

impl Message {
    fn words(&self) -> [u64; WORDS] {
        let mut words = [0; WORDS];
        let fields: &[u64] = match self {
            Message::Failed { step, errno } => &[1, u64::from(*step), word_of(*errno)],
            Message::Degraded { step, errno } => &[2, u64::from(*step), word_of(*errno)],
            Message::Directory => &[3],
            Message::Listener => &[4],
            Message::Exited { status, usage } => return with_usage(&[5, word_of(*status)], usage),
            Message::NotStarted { stage, errno } => &[6, u64::from(*stage), word_of(*errno)],
            Message::Unobserved => &[7],
            Message::Ready => &[8],
            Message::Init { pid } => &[9, word_of(*pid)],
            Message::Prepared => &[10],
            Message::Armed => &[11],
            Message::Reaped { usage } => return with_usage(&[12], usage),
            Message::NewSlot { guest } => &[13, u64::from(*guest)],
            Message::Plan { bytes } => &[14, *bytes],
            Message::Fork { rehearses } => &[15, u64::from(*rehearses)],
            Message::Child { pid } => &[16, word_of(*pid)],
        };
        for (word, field) in words.iter_mut().zip(fields) {
            *word = *field;
        }
        words
    }

    /// Its bytes.
    pub fn encode(&self) -> [u8; MESSAGE_BYTES] {
        let mut bytes = [0u8; MESSAGE_BYTES];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(self.words()) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// Sends it, with a descriptor if it carries one.
    #[cfg(not(feature = "supervisor"))]
    pub(crate) fn send(&self, socket: Fd, passed: Option<Fd>) -> Result<(), Errno> {
        let bytes = self.encode();
        match passed {
            Some(fd) => socket::send_with_fd(socket, &bytes, fd),
            // A plain write: the guest's filter is already on when its last messages leave.
            None => file::write_all(socket, &bytes),
        }
    }

    /// The message that `bytes` are; `None` if they are none.
    pub fn decode(bytes: &[u8]) -> Option<Message> {
        if bytes.len() != MESSAGE_BYTES {
            return None;
        }
        let mut words =
            bytes.chunks_exact(8).map(|chunk| u64::from_le_bytes(chunk.try_into().unwrap_or([0; 8])));
        let mut next = move || words.next().unwrap_or(0);
        let int = |word: u64| i32::try_from(word.cast_signed()).ok();
        Some(match next() {
            1 => Message::Failed { step: u32::try_from(next()).ok()?, errno: int(next())? },
            2 => Message::Degraded { step: u32::try_from(next()).ok()?, errno: int(next())? },
            3 => Message::Directory,
            4 => Message::Listener,
            5 => Message::Exited { status: int(next())?, usage: usage(&mut next) },
            6 => Message::NotStarted { stage: u32::try_from(next()).ok()?, errno: int(next())? },
            7 => Message::Unobserved,
            8 => Message::Ready,
            9 => Message::Init { pid: int(next())? },
            10 => Message::Prepared,
            11 => Message::Armed,
            12 => Message::Reaped { usage: usage(&mut next) },
            13 => Message::NewSlot { guest: u32::try_from(next()).ok()? },
            14 => Message::Plan { bytes: next() },
            15 => Message::Fork { rehearses: next() != 0 },
            16 => Message::Child { pid: int(next())? },
            _ => return None,
        })
    }
}

fn with_usage(first: &[u64], usage: &Usage) -> [u64; WORDS] {
    let usage = [
        usage.cpu_user_us,
        usage.cpu_system_us,
        usage.max_rss_bytes,
        usage.minor_faults,
        usage.major_faults,
        usage.voluntary_switches,
        usage.involuntary_switches,
    ];
    let mut words = [0; WORDS];
    for (word, field) in words.iter_mut().zip(first.iter().chain(&usage)) {
        *word = *field;
    }
    words
}

fn usage(next: &mut impl FnMut() -> u64) -> Usage {
    Usage {
        cpu_user_us: next(),
        cpu_system_us: next(),
        max_rss_bytes: next(),
        minor_faults: next(),
        major_faults: next(),
        voluntary_switches: next(),
        involuntary_switches: next(),
    }
}

fn word_of(number: i32) -> u64 {
    i64::from(number).cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_received() {
        let usage = Usage {
            cpu_user_us: 1,
            cpu_system_us: 2,
            max_rss_bytes: 3,
            minor_faults: 4,
            major_faults: 5,
            voluntary_switches: 6,
            involuntary_switches: 7,
        };
        for message in [
            Message::Failed { step: u32::MAX, errno: 1 },
            Message::Degraded { step: 2, errno: 3 },
            Message::Directory,
            Message::Listener,
            Message::Exited { status: -1, usage },
            Message::NotStarted { stage: 4, errno: 5 },
            Message::Unobserved,
            Message::Ready,
            Message::Init { pid: 6 },
            Message::Prepared,
            Message::Armed,
            Message::Reaped { usage },
            Message::NewSlot { guest: 7 },
            Message::Plan { bytes: u64::MAX },
            Message::Fork { rehearses: true },
            Message::Child { pid: 8 },
        ] {
            assert_eq!(Message::decode(&message.encode()), Some(message));
        }
        assert_eq!(Message::decode(&[0; MESSAGE_BYTES]), None);
        assert_eq!(Message::decode(&Message::Ready.encode()[1..]), None);
    }
}
