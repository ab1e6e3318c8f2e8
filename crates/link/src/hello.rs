//! The first 18 bytes of each connection: which version, what the connection is for, and whose it is.
//!
//! A frame like any other (`0000000e 85 00 00 VV RR 48 PPPPPPPPPPPPPPPP`), but of one fixed length for each version below 24, so that the
//! listener reads exactly 18 bytes and never a byte of what follows. Spec: link.md §3.

use std::fmt;

use crate::limits::VERSION;

/// Bytes of a [`Hello`] on the wire, length included.
pub const HELLO_LEN: usize = 18;

/// Whose connection it is, as far as the host tells connections apart: equal for those of one address. It names nobody, and a lie costs
/// availability only.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: bytes that are only compared")]
pub struct Party(pub [u8; 8]);

/// What a connection is for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Role {
    /// Frames. A new control connection supersedes the one before: the host has restarted.
    Control,
    /// After the hello, the raw bytes of one TCP connection of a client, in both directions; end of stream passes through.
    Client(Party),
    /// After the hello, the raw bytes of one TCP connection to an upstream, which the enclave asked for under this id.
    Upstream(Pipe),
}

/// Names a connection to an upstream: chosen by the enclave when it asks for it ([`crate::EnclaveRequest::OpenUpstream`]).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: bytes that are only compared")]
pub struct Pipe(pub [u8; 8]);

/// Sent by the host first on each connection; not answered.
///
/// # Examples
/// ```
/// use candor_link::{Hello, HelloError, Party, Role};
///
/// let hello = Hello { role: Role::Client(Party(*b"somebody")) };
/// let mut bytes = hello.encode();
/// assert_eq!(bytes, *b"\0\0\0\x0e\x85\0\0\x02\x02\x48somebody");
/// assert_eq!(Hello::parse(&bytes), Ok(hello));
/// bytes[7] = 9;
/// assert_eq!(Hello::parse(&bytes), Err(HelloError::Version { supported: 2, got: 9 }));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct Hello {
    /// What the connection is for.
    pub role: Role,
}

impl Hello {
    /// The bytes.
    #[must_use]
    pub fn encode(self) -> [u8; HELLO_LEN] {
        let (role, [a, b, c, d, e, f, g, h]) = match self.role {
            Role::Control => (1, [0; 8]),
            Role::Client(Party(bytes)) => (2, bytes),
            Role::Upstream(Pipe(bytes)) => (3, bytes),
        };
        [0, 0, 0, 14, 0x85, 0, 0, VERSION, role, 0x48, a, b, c, d, e, f, g, h]
    }

    /// Reads the bytes.
    ///
    /// # Errors
    /// [`HelloError`]; the listener closes the connection.
    pub fn parse(bytes: &[u8; HELLO_LEN]) -> Result<Self, HelloError> {
        match *bytes {
            [0, 0, 0, 14, 0x85, 0, 0, got @ 0..=23, ..] if got != VERSION => Err(HelloError::Version { supported: VERSION, got }),
            [0, 0, 0, 14, 0x85, 0, 0, VERSION, 1, 0x48, 0, 0, 0, 0, 0, 0, 0, 0] => Ok(Self { role: Role::Control }),
            [0, 0, 0, 14, 0x85, 0, 0, VERSION, 2, 0x48, a, b, c, d, e, f, g, h] => {
                Ok(Self { role: Role::Client(Party([a, b, c, d, e, f, g, h])) })
            }
            [0, 0, 0, 14, 0x85, 0, 0, VERSION, 3, 0x48, a, b, c, d, e, f, g, h] => {
                Ok(Self { role: Role::Upstream(Pipe([a, b, c, d, e, f, g, h])) })
            }
            _ => Err(HelloError::Malformed),
        }
    }
}

/// Why the first bytes of a connection are refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum HelloError {
    /// Not a hello, or an unknown role.
    Malformed,
    /// A hello of another version.
    Version {
        /// The version this side speaks.
        supported: u8,
        /// The version of the other.
        got: u8,
    },
}

impl fmt::Display for HelloError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("the connection does not begin with a hello of the link protocol"),
            Self::Version { supported, got } => write!(f, "link version {got}; this side speaks {supported}"),
        }
    }
}

impl std::error::Error for HelloError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hello_reads_back_and_every_other_byte_is_rejected() {
        let roles = [
            Role::Control,
            Role::Client(Party([0; 8])),
            Role::Client(Party([1, 2, 3, 4, 5, 6, 7, 8])),
            Role::Upstream(Pipe([0; 8])),
            Role::Upstream(Pipe([8, 7, 6, 5, 4, 3, 2, 1])),
        ];
        for role in roles {
            let bytes = Hello { role }.encode();
            assert_eq!(Hello::parse(&bytes), Ok(Hello { role }));
            for at in 0..HELLO_LEN {
                for bit in 0..8 {
                    let mut other = bytes;
                    other[at] ^= 1 << bit;
                    assert_ne!(Hello::parse(&other), Ok(Hello { role }), "byte {at}");
                }
            }
        }
    }
}
