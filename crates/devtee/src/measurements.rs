//! What the software hypervisor says it measured: a file's bytes, by the formulas of Nitro.

use std::io::{self, Read};

use sha2::{Digest as _, Sha384};

/// PCR0, PCR1 and PCR2 of a SIMULATED enclave.
///
/// Any value is valid; zeros are what a debug-mode enclave has, and verifiers refuse them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "complete: an image has these three")]
pub struct Measurements {
    /// The whole image.
    pub pcr0: [u8; 48],
    /// Kernel and boot: here a constant, since a process has neither.
    pub pcr1: [u8; 48],
    /// The application: here the image again, under a label.
    pub pcr2: [u8; 48],
}

impl Measurements {
    /// The measurements of a process started from a file with these bytes. With H = SHA-384:
    /// PCR0 = H(0^48 ‖ H(image)), PCR1 = H(0^48 ‖ H("candor/devtee/boot/1")),
    /// PCR2 = H(0^48 ‖ H("candor/devtee/app/1" ‖ image)).
    ///
    /// # Security
    ///
    /// SIMULATED: nobody measured that these bytes run; the caller says so.
    #[must_use]
    pub fn of_image(image: &[u8]) -> Self {
        let mut hashes = Hashes::new();
        hashes.update(image);
        hashes.finish()
    }

    /// The same of a file that nobody has to hold in memory for it.
    ///
    /// # Errors
    ///
    /// What reading says.
    pub fn of_reader(mut image: impl Read) -> io::Result<Self> {
        let (mut hashes, mut piece) = (Hashes::new(), vec![0; PIECE_BYTES]);
        loop {
            match image.read(&mut piece) {
                Ok(0) => return Ok(hashes.finish()),
                Ok(count) => hashes.update(&piece[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// PCR0 ‖ PCR1 ‖ PCR2, as `VerifiedDocument::measurements` gives them.
    #[must_use]
    pub fn concatenated(&self) -> [u8; 144] {
        let mut all = [0; 144];
        for (room, pcr) in all.as_chunks_mut().0.iter_mut().zip([self.pcr0, self.pcr1, self.pcr2]) {
            *room = pcr;
        }
        all
    }
}

/// What is hashed of an image, piece by piece.
struct Hashes {
    whole: Sha384,
    application: Sha384,
}

impl Hashes {
    fn new() -> Self {
        Self { whole: Sha384::new(), application: Sha384::new().chain_update(APP_TAG) }
    }

    fn update(&mut self, piece: &[u8]) {
        self.whole.update(piece);
        self.application.update(piece);
    }

    fn finish(self) -> Measurements {
        Measurements {
            pcr0: extend_zero(&self.whole.finalize()),
            pcr1: extend_zero(&Sha384::digest(BOOT_TAG)),
            pcr2: extend_zero(&self.application.finalize()),
        }
    }
}

/// A register that was zero, extended once: H(0^48 ‖ data).
pub(crate) fn extend_zero(data: &[u8]) -> [u8; 48] {
    Sha384::new().chain_update([0; 48]).chain_update(data).finalize().into()
}

const BOOT_TAG: &[u8] = b"candor/devtee/boot/1";
const APP_TAG: &[u8] = b"candor/devtee/app/1";

/// Read at once.
const PIECE_BYTES: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_read_in_pieces_has_the_measurements_of_the_whole() {
        for len in [0, 1, PIECE_BYTES - 1, PIECE_BYTES, 3 * PIECE_BYTES + 7] {
            let image: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
            assert_eq!(Measurements::of_reader(image.as_slice()).unwrap(), Measurements::of_image(&image), "{len}");
        }
    }
}
