//! Just enough of ELF to say whether a program is static and for which processor.
//!
//! A static program names no interpreter: nothing of the machine that it runs on is loaded into it.

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Machine {
    X86_64,
    Aarch64,
}

impl Machine {
    /// `e_machine` of the ELF specification.
    fn number(self) -> u64 {
        match self {
            Self::X86_64 => 62,
            Self::Aarch64 => 183,
        }
    }
}

/// `p_type` of a segment that names the program which loads this one.
const PT_INTERP: u64 = 3;
/// And of one that lists what is loaded with it. A static program that may lie anywhere has it too, with nothing to load.
const PT_DYNAMIC: u64 = 2;
/// `d_tag` of a library that is loaded.
const DT_NEEDED: u64 = 1;

/// Refuses whatever is not a static program of this machine.
pub(super) fn check(bytes: &[u8], machine: Machine) -> Result<(), String> {
    // 64 bits, little endian, this version: what both of our targets are.
    if bytes.get(..7) != Some(b"\x7fELF\x02\x01\x01") {
        return Err("is no ELF file of 64 bits".into());
    }
    let found = number(bytes, 18, 2)?;
    if found != machine.number() {
        return Err(format!("is for another machine: expected {} ({machine:?}), got {found}", machine.number()));
    }
    let (offset, size, count) = (number(bytes, 32, 8)?, number(bytes, 54, 2)?, number(bytes, 56, 2)?);
    if count == 0 {
        return Err("has no segments: it is no program".into());
    }
    for at in 0..count {
        let header = offset.checked_add(at * size).ok_or("a segment lies outside the file")?;
        match number(bytes, header, 4)? {
            PT_INTERP => return Err("is not static: it names an interpreter".into()),
            PT_DYNAMIC => needs_nothing(bytes, number(bytes, header + 8, 8)?, number(bytes, header + 32, 8)?)?,
            _ => {}
        }
    }
    Ok(())
}

fn needs_nothing(bytes: &[u8], offset: u64, size: u64) -> Result<(), String> {
    for at in 0..size / 16 {
        match number(bytes, offset.checked_add(at * 16).ok_or("a segment lies outside the file")?, 8)? {
            0 => break,
            DT_NEEDED => return Err("is not static: it needs a library".into()),
            _ => {}
        }
    }
    Ok(())
}

/// A little-endian number of so many bytes.
fn number(bytes: &[u8], at: u64, width: usize) -> Result<u64, String> {
    let start = usize::try_from(at).map_err(|_| "a number lies outside the file")?;
    let end = start.checked_add(width).ok_or("a number lies outside the file")?;
    let digits = bytes.get(start..end).ok_or("ends before what it promises")?;
    Ok(digits.iter().rev().fold(0, |number, digit| number << 8 | u64::from(*digit)))
}

#[cfg(test)]
mod tests {
    use super::{Machine, check};

    /// A program with these types of segments, and a list of what is loaded that begins with this tag.
    fn program(machine: u8, segments: &[u8], tag: u8) -> Vec<u8> {
        let mut out = vec![0; 64 + 56 * segments.len() + 32];
        out[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        (out[18], out[32], out[54], out[56]) = (machine, 64, 56, segments.len() as u8);
        let dynamic = 64 + 56 * segments.len();
        for (at, kind) in segments.iter().enumerate() {
            out[64 + 56 * at] = *kind;
            out[64 + 56 * at + 8..][..2].copy_from_slice(&(dynamic as u16).to_le_bytes());
            out[64 + 56 * at + 32] = 32;
        }
        out[dynamic] = tag;
        out
    }

    #[test]
    fn a_static_program_of_its_machine_is_taken() {
        assert_eq!(check(&program(62, &[1, 1], 0), Machine::X86_64), Ok(()));
        assert_eq!(check(&program(183, &[1, 2], 30), Machine::Aarch64), Ok(()));
    }

    #[test]
    fn a_program_that_is_loaded_by_another_or_loads_a_library_is_refused() {
        for (bytes, word) in [
            (program(62, &[1, 3], 0), "interpreter"),
            (program(62, &[1, 2], 1), "library"),
            (program(183, &[1], 0), "expected 62"),
            (program(62, &[], 0), "no segments"),
            (b"#!/bin/sh\n".to_vec(), "no ELF"),
            (program(62, &[1, 2], 0)[..100].to_vec(), "ends before"),
            (Vec::new(), "no ELF"),
        ] {
            assert!(check(&bytes, Machine::X86_64).is_err_and(|error| error.contains(word)), "{word}");
        }
        let mut far = program(62, &[1], 0);
        far[32..40].copy_from_slice(&[0xff; 8]);
        assert!(check(&far, Machine::X86_64).is_err());
    }

    #[test]
    fn this_test_is_a_dynamic_program_and_refused() {
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let machine = if cfg!(target_arch = "aarch64") { Machine::Aarch64 } else { Machine::X86_64 };
        assert!(check(&bytes, machine).unwrap_err().contains("interpreter"));
    }
}
