//! What can be wrong with a model file or with a call to generate, each as a comparable value.
//!
//! Spec: det-1.md §1, §2, §7. Errors of an API request are [`crate::chat::ApiError`], not here.

use std::fmt;

/// Why a container was refused. The bytes are at fault, never the caller.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ModelError {
    /// The file does not begin with the magic of `.cnd1`.
    Magic,
    /// The file is of another version of the format.
    Version {
        /// The version this reader knows.
        expected: u32,
        /// The version in the file.
        got: u32,
    },
    /// The file, or its header, is shorter or longer than its contents say (bytes).
    Length {
        /// Bytes the contents call for.
        expected: u64,
        /// Bytes there are.
        got: u64,
    },
    /// A header field is outside its limits.
    Field {
        /// The field's name in the spec.
        name: &'static str,
        /// Its value (a float's bits).
        got: u64,
    },
    /// An entry of the merge or the special token table breaks a rule.
    Tokenizer {
        /// The rule.
        rule: &'static str,
        /// The entry, from 0.
        index: u32,
    },
    /// A byte between two tensors is not zero.
    Padding {
        /// Its offset in the file.
        offset: u64,
    },
    /// A tensor holds a value outside its limits.
    Value {
        /// The tensor's name.
        tensor: String,
        /// The element, from 0.
        index: u64,
    },
    /// A tensor was not given to the builder, or is not one of this model's.
    Tensor {
        /// The tensor's name.
        name: String,
    },
    /// A tensor given to the builder has the wrong number of elements.
    Shape {
        /// The tensor's name.
        name: String,
        /// Elements it must have.
        expected: u64,
        /// Elements it has.
        got: u64,
    },
}

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => write!(f, "not a .cnd1 model file"),
            Self::Version { expected, got } => write!(f, "model format version {got}, expected {expected}"),
            Self::Length { expected, got } => write!(f, "model file has {got} bytes where its contents say {expected}"),
            Self::Field { name, got } => write!(f, "model header field {name} has the value {got}, outside its limits"),
            Self::Tokenizer { rule, index } => write!(f, "tokenizer entry {index}: {rule}"),
            Self::Padding { offset } => write!(f, "padding byte at {offset} is not zero"),
            Self::Value { tensor, index } => write!(f, "value {index} of tensor {tensor} is outside its limits"),
            Self::Tensor { name } => write!(f, "tensor {name} is missing or unknown"),
            Self::Shape { name, expected, got } => write!(f, "tensor {name} has {got} elements, expected {expected}"),
        }
    }
}

impl std::error::Error for ModelError {}

/// Why generation could not run. The caller is at fault; nothing was generated.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum GenerateError {
    /// The prompt has no token.
    EmptyPrompt,
    /// Prompt and answer do not fit into the context (tokens).
    ContextLength {
        /// The model's context, or the session's capacity.
        limit: u32,
        /// What the prompt and the answer need.
        requested: u64,
    },
    /// A token id is not in the vocabulary.
    UnknownToken {
        /// The id.
        got: u32,
    },
    /// A decoding parameter is outside its limits.
    Parameter {
        /// The parameter's name.
        name: &'static str,
        /// Its value.
        got: u64,
    },
}

impl fmt::Display for GenerateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptyPrompt => write!(f, "the prompt is empty"),
            Self::ContextLength { limit, requested } => write!(f, "{requested} tokens requested, the context has {limit}"),
            Self::UnknownToken { got } => write!(f, "token {got} is not in the vocabulary"),
            Self::Parameter { name, got } => write!(f, "decoding parameter {name} = {got} is outside its limits"),
        }
    }
}

impl std::error::Error for GenerateError {}
