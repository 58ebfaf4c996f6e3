//! The policies that come with wardian.

use super::{Policy, PolicyError, file};

/// A policy that comes with wardian.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// Its name.
    pub name: &'static str,
    /// Its text, in the form of a policy file.
    pub toml: &'static str,
}

/// All of them; the first is the default and the base of all others.
pub const PRESETS: [Preset; 4] = [
    Preset { name: "python", toml: include_str!("presets/python.toml") },
    Preset { name: "strict", toml: include_str!("presets/strict.toml") },
    Preset { name: "judge", toml: include_str!("presets/judge.toml") },
    Preset { name: "codejail", toml: include_str!("presets/codejail.toml") },
];

/// The preset of that name.
///
/// # Errors
/// [`PolicyError::UnknownPreset`] with the names there are.
pub fn preset(name: &str) -> Result<Policy, PolicyError> {
    let preset = find(name).ok_or_else(|| PolicyError::UnknownPreset { name: name.into() })?;
    file::parse(preset.toml, &format!("preset {name}"))
}

pub(super) fn find(name: &str) -> Option<Preset> {
    PRESETS.into_iter().find(|preset| preset.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_a_valid_policy_of_its_name() {
        for Preset { name, .. } in PRESETS {
            assert_eq!(preset(name).unwrap().name, name);
        }
    }
}
