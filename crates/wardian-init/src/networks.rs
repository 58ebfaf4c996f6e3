//! Network namespaces of slots, used again: making one and taking it apart is a large part of what a slot costs the kernel.
//!
//! A new slot gets the namespace of one that is gone only where programs can have no socket but local ones, and only when no
//! socket is left in it. Nothing else could stay there: no interface is up, and nobody who was in it had a right over it.

use crate::MOST_SLOTS;
use wardian_sys::{Fd, Result, clone, file, process};

/// Those that are free.
pub(crate) struct Networks {
    free: [Fd; MOST_SLOTS],
    count: usize,
}

impl Networks {
    pub(crate) const NONE: Networks = Networks { free: [Fd::NONE; MOST_SLOTS], count: 0 };

    /// Enters one in which nothing is, and answers what keeps it: a process that is cloned now is in it, too. `proc` is
    /// a proc of this process's pid namespace.
    pub(crate) fn enter(&mut self, proc: Fd) -> Result<Fd> {
        while let Some(network) = self.take() {
            let is_empty = process::setns(network, clone::NEWNET).and_then(|()| is_empty(proc));
            if is_empty == Ok(true) {
                return Ok(network);
            }
            file::close(network)?;
            is_empty?;
        }
        process::unshare(clone::NEWNET)?;
        Ok(file::openat(proc, c"self/ns/net", file::O_RDONLY | file::O_CLOEXEC, 0)?.fd())
    }

    fn take(&mut self) -> Option<Fd> {
        self.count = self.count.checked_sub(1)?;
        self.free.get(self.count).copied()
    }

    /// Its slot is gone, with every process that was in it.
    pub(crate) fn give_back(&mut self, network: Fd) -> Result<()> {
        match self.free.get_mut(self.count) {
            Some(place) => {
                *place = network;
                self.count += 1;
                Ok(())
            }
            None => file::close(network),
        }
    }
}

/// Whether this process's network namespace has no socket: those in messages that nobody has received can outlive
/// every process for a while (unix(7), `SCM_RIGHTS`), with their names and what was sent to them.
fn is_empty(proc: Fd) -> Result<bool> {
    let sockets = file::openat(proc, c"self/net/unix", file::O_RDONLY | file::O_CLOEXEC, 0)?.fd();
    let mut bytes = [0u8; 128];
    let read = file::read(sockets, &mut bytes);
    file::close(sockets)?;
    Ok(bytes.get(..read?).is_some_and(is_heading_alone))
}

/// Whether nothing follows the first line. The first socket's own line may be longer than what was read of it.
fn is_heading_alone(text: &[u8]) -> bool {
    text.iter().position(|byte| *byte == b'\n').is_some_and(|end| end + 1 == text.len())
}

#[cfg(test)]
mod tests {
    use super::is_heading_alone;

    #[test]
    fn a_socket_is_seen_however_long_its_name_is() {
        const HEADING: &[u8] = b"Num       RefCount Protocol Flags    Type St Inode Path\n";
        assert!(is_heading_alone(HEADING));
        for rest in
            [&b"0000000000000000: 00000002 00000000 00010000 0001 01 4711 @a\n"[..], b"0000000000000000: 0"]
        {
            assert!(!is_heading_alone(&[HEADING, rest].concat()));
        }
        assert!(!is_heading_alone(b"Num"));
        assert!(!is_heading_alone(b""));
    }
}
