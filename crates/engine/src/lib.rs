//! det/1: the deterministic engine. Same bytes for any thread count, chunking or CPU.
//!
//! A language model that can be run again: from the model file, the request's body and a seed, anybody computes the same answer, byte for
//! byte, and so can check a receipt without trusting a vendor of hardware. [`Model::load`] reads and digests a container, [`generate()`] makes
//! tokens, [`chat`] turns an OpenAI request into a prompt and tokens into the frames of the answer; `candor replay` calls [`chat::replay`].
//!
//! Spec: det-1.md fixes every bit; the files follow its sections (`container` §1, `tokenizer` §2, `math` §4, `session` §5, `sampling` §6,
//! `generate` §7, `chat` §3, §8, §9). `reference/det1.py` is a second implementation, written from the spec: the golden values are its as well.
//!
//! Not here: transport, SSE framing, receipts, payments, model ids and prices (`enclave`); training (`tools/`); upstream engines.
//!
//! Invariants: no unsafe code; no call into the platform's mathematics; no panic reachable from a container or a request.
//!
//! ```
//! use candor_engine::{Model, chat, fixture};
//!
//! let model = Model::load(&fixture::model()).unwrap();
//! let body = br#"{"model":"m","messages":[{"role":"user","content":"Hi"}],"max_tokens":4}"#;
//! let again = || chat::replay(&model, body, [7; 32], 4, "chatcmpl-1", 1_700_000_000).unwrap();
//! assert_eq!(again(), again());
//!
//! // A container with one flipped byte is another model, or none.
//! let mut bytes = fixture::model();
//! bytes[0] ^= 1;
//! assert!(Model::load(&bytes).is_err());
//! ```

pub mod chat;
pub mod fixture;

mod attention;
mod builder;
mod config;
mod container;
mod digest;
mod error;
mod generate;
mod linear;
mod math;
mod sampling;
mod session;
mod stop;
mod text;
mod tokenizer;

pub use builder::ModelBuilder;
pub use config::Config;
pub use container::Model;
pub use digest::{CHUNK_BYTES, merkle_root};
pub use error::{GenerateError, ModelError};
pub use generate::{Finish, Generated, Step, Usage, generate};
pub use linear::Options;
pub use sampling::{Decoding, seed_from_integer};
pub use session::Session;
pub use stop::StopScanner;
pub use text::TextDecoder;
pub use tokenizer::{Special, Tokenizer};

/// The name of this arithmetic, as receipts and `system_fingerprint` carry it.
pub const ENGINE: &str = "det/1";
