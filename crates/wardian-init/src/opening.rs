//! What init can do while the plan is still being made.

const BYTES: usize = 9;

/// The supervisor's first message to init.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The namespaces to leave for new ones (`CLONE_NEW*`): those that take long, and that the supervisor has not waited
    /// for.
    pub namespaces: u64,
    /// Whether to close what an exec could bring back of capabilities, for itself and all its children.
    pub locks_down: bool,
}

impl Opening {
    /// As it is sent.
    pub fn encode(self) -> [u8; BYTES] {
        let mut bytes = [u8::from(self.locks_down); BYTES];
        if let Some(word) = bytes.first_chunk_mut() {
            *word = self.namespaces.to_le_bytes();
        }
        bytes
    }

    /// From what was received; none if it is something else.
    pub fn decode(bytes: &[u8]) -> Option<Opening> {
        match bytes.split_first_chunk()? {
            (word, [flag @ (0 | 1)]) => {
                Some(Opening { namespaces: u64::from_le_bytes(*word), locks_down: *flag == 1 })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_received() {
        for locks_down in [false, true] {
            let opening = Opening { namespaces: 0x1234_5678_9abc_def0, locks_down };
            assert_eq!(Opening::decode(&opening.encode()), Some(opening));
        }
        assert_eq!(Opening::decode(&[0; 8]), None);
        assert_eq!(Opening::decode(&[2; 9]), None);
        assert_eq!(Opening::decode(&[0; 10]), None);
    }
}
