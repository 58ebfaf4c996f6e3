//! The parts of init's work that are no steps of a plan.

/// Where init failed, if it was not in one of the plan's steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Part {
    /// Entering new namespaces.
    Namespaces,
    /// Reading the plan.
    Plan,
    /// Starting the guest.
    Guest,
    /// Its own confinement, and the watch.
    Confine,
    /// Making a slot.
    Slot,
    /// Bringing an input in, or resizing scratch space.
    Input,
}

impl Part {
    const ALL: [Part; 6] =
        [Part::Namespaces, Part::Plan, Part::Guest, Part::Confine, Part::Slot, Part::Input];

    /// Its number among the plan's steps, of which there are never so many.
    pub const fn step(self) -> u32 {
        u32::MAX - self as u32
    }

    /// The part of this number; none for a step of the plan's.
    pub fn of(step: u32) -> Option<Part> {
        Part::ALL.into_iter().find(|part| part.step() == step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_no_step() {
        for part in Part::ALL {
            assert_eq!(Part::of(part.step()), Some(part));
        }
        assert_eq!(Part::of(0), None);
        assert_eq!(Part::of(u32::MAX - 6), None);
    }
}
