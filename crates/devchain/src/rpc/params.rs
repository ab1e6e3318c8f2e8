//! Positional JSON-RPC parameters, read into types with errors that name the parameter.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::ChainError;

/// The parameter list of one request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Params<'a>(pub(super) &'a [Value]);

impl Params<'_> {
    /// A parameter that must be there.
    pub(super) fn required<T: DeserializeOwned>(self, index: usize, name: &str) -> Result<T, ChainError> {
        self.optional(index, name)?.ok_or_else(|| ChainError::InvalidParams { reason: format!("missing parameter {index} ({name})") })
    }

    /// A parameter that may be absent or null.
    pub(super) fn optional<T: DeserializeOwned>(self, index: usize, name: &str) -> Result<Option<T>, ChainError> {
        match self.0.get(index) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => T::deserialize(value)
                .map(Some)
                .map_err(|error| ChainError::InvalidParams { reason: format!("parameter {index} ({name}): {error}") }),
        }
    }

    /// A number given as JSON number, 0x-hex string or decimal string: tools differ for the `evm_` methods.
    pub(super) fn loose_number(self, index: usize, name: &str) -> Result<Option<u64>, ChainError> {
        let value = match self.0.get(index) {
            None | Some(Value::Null) => return Ok(None),
            Some(value) => value,
        };
        parse_loose_number(value)
            .map(Some)
            .ok_or_else(|| ChainError::InvalidParams { reason: format!("parameter {index} ({name}): not a number of 64 bits") })
    }

    /// A number as [`Params::loose_number`] that must be there.
    pub(super) fn required_number(self, index: usize, name: &str) -> Result<u64, ChainError> {
        self.loose_number(index, name)?.ok_or_else(|| ChainError::InvalidParams { reason: format!("missing parameter {index} ({name})") })
    }

    /// Refuses parameters that would otherwise be ignored in silence.
    pub(super) fn at_most(self, count: usize, why: &str) -> Result<(), ChainError> {
        match self.0.get(count..) {
            Some(rest) if rest.iter().any(|value| !value.is_null()) => {
                Err(ChainError::InvalidParams { reason: format!("too many parameters: {why}") })
            }
            _ => Ok(()),
        }
    }
}

pub(super) fn parse_loose_number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => match text.strip_prefix("0x") {
            Some(hex) if hex.starts_with('+') => None,
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None if text.starts_with('+') => None,
            None => text.parse().ok(),
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_read_in_the_three_forms_tools_use() {
        for form in [json!(16), json!("0x10"), json!("16")] {
            assert_eq!(parse_loose_number(&form), Some(16), "{form}");
        }
        for form in [json!(-1), json!(1.5), json!("0x"), json!("+1"), json!("0x+1"), json!([])] {
            assert_eq!(parse_loose_number(&form), None, "{form}");
        }
    }
}
