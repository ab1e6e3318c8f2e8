//! Errors as an OpenAI client expects them: a status and `{"error":{…}}`, naming the parameter at fault.
//!
//! Spec: det-1.md §9. Not here: 402 (x402), 401, 429 and the transport's errors, which the enclave makes with the same type.
//!
//! Invariant: a message never quotes a message's content or a prompt; parameter names and numbers only.

use std::fmt;

use serde::Serialize;

use crate::GenerateError;

/// An error to send back, and nothing was generated.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ApiError {
    /// HTTP status.
    pub status: u16,
    /// `error.type`, for example `invalid_request_error`.
    pub kind: &'static str,
    /// `error.code`, for example `context_length_exceeded`.
    pub code: Option<&'static str>,
    /// The parameter at fault, for example `messages[1].role`.
    pub param: Option<String>,
    /// For people.
    pub message: String,
}

impl ApiError {
    /// A 400 without a code.
    #[must_use]
    pub fn invalid_request(message: &str) -> Self {
        Self { status: 400, kind: "invalid_request_error", code: None, param: None, message: message.to_owned() }
    }

    /// The 404 for a model that is not served here.
    #[must_use]
    pub fn model_not_found(model: &str) -> Self {
        let message = format!("The model '{model}' does not exist here.");
        Self { status: 404, ..Self::invalid_request(&message).code("model_not_found").param("model") }
    }

    /// The body of the response.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Body<'a> {
            error: Inner<'a>,
        }
        #[derive(Serialize)]
        struct Inner<'a> {
            message: &'a str,
            r#type: &'static str,
            param: Option<&'a str>,
            code: Option<&'static str>,
        }
        let error = Inner { message: &self.message, r#type: self.kind, param: self.param.as_deref(), code: self.code };
        // Serialising strings into memory cannot fail.
        serde_json::to_vec(&Body { error }).unwrap_or_default()
    }

    /// The messages alone are longer than the context; by how much was not counted.
    pub(crate) fn messages_beyond_context(context: u32) -> Self {
        Self::invalid_request(&format!(
            "This model's maximum context length is {context} tokens. However, your messages alone have more. Please reduce their length."
        ))
        .code("context_length_exceeded")
        .param("messages")
    }

    pub(crate) fn context_length(context: u32, prompt: u64, max_tokens: u32) -> Self {
        let total = prompt + u64::from(max_tokens);
        Self::invalid_request(&format!(
            "This model's maximum context length is {context} tokens. However, you requested {total} tokens ({prompt} in the messages, {max_tokens} in the completion). Please reduce the length of the messages or completion."
        ))
        .code("context_length_exceeded")
        .param("messages")
    }

    pub(crate) fn from_generate(error: GenerateError) -> Self {
        match error {
            GenerateError::ContextLength { limit, requested } => Self::context_length(limit, requested, 0),
            // The rest are excluded by parsing and by the template: our bug, not theirs.
            other => Self { status: 500, kind: "server_error", ..Self::invalid_request(&other.to_string()) },
        }
    }

    pub(crate) fn missing(param: &str) -> Self {
        Self::invalid_request(&format!("Missing required parameter: '{param}'.")).code("missing_required_parameter").param(param)
    }

    pub(crate) fn wrong_type(param: &str, expected: &str) -> Self {
        Self::invalid_request(&format!("Invalid type for '{param}': expected {expected}.")).code("invalid_type").param(param)
    }

    /// 400: a field has a value that is not taken; `expected` says which are.
    #[must_use]
    pub fn invalid_value(param: &str, expected: &str) -> Self {
        Self::invalid_request(&format!("Invalid value for '{param}': expected {expected}.")).code("invalid_value").param(param)
    }

    pub(crate) fn unsupported_parameter(param: &str) -> Self {
        Self::invalid_request(&format!("Unsupported parameter: '{param}' is not supported with this model."))
            .code("unsupported_parameter")
            .param(param)
    }

    pub(crate) fn unsupported_value(param: &str, supported: &str) -> Self {
        Self::invalid_request(&format!("Unsupported value: '{param}' supports {supported} with this model."))
            .code("unsupported_value")
            .param(param)
    }

    fn code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    fn param(mut self, param: &str) -> Self {
        self.param = Some(param.to_owned());
        self
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status, self.code.unwrap_or(self.kind), self.message)
    }
}

impl std::error::Error for ApiError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_the_shape_of_openai() {
        let json = ApiError::missing("messages").to_json();
        let expected = r#"{"error":{"message":"Missing required parameter: 'messages'.","type":"invalid_request_error","param":"messages","code":"missing_required_parameter"}}"#;
        assert_eq!(String::from_utf8(json).unwrap(), expected);
        let plain = ApiError::invalid_request("\"no\"").to_json();
        assert_eq!(
            String::from_utf8(plain).unwrap(),
            r#"{"error":{"message":"\"no\"","type":"invalid_request_error","param":null,"code":null}}"#
        );
    }
}
