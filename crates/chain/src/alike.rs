//! What several endpoints say alike: which answers are the same, and what is left of them to be read.
//!
//! Endpoints add members of their own to blocks and receipts. Those that only one of a group shows are taken out, so that whoever answers
//! first decides nothing alone; those that this program or its library reads must be there in all. Pure: who is asked is `pool`'s.

use alloy::rpc::json_rpc::{ErrorPayload, Response, ResponsePacket, ResponsePayload};
use alloy::transports::{TransportErrorKind, TransportResult};
use serde_json::{Map, Value, json};

use crate::error::{is_of_tag, is_revert};
use crate::ranges::is_of_something_else;

/// Members of blocks, receipts, logs and transactions that something is decided on, or without which nothing is read at all: one that only one
/// endpoint shows is a difference.
const READ: [&str; 34] = [
    "address",
    "blockHash",
    "blockNumber",
    "contractAddress",
    "cumulativeGasUsed",
    "data",
    "difficulty",
    "effectiveGasPrice",
    "extraData",
    "from",
    "gasLimit",
    "gasUsed",
    "hash",
    "logIndex",
    "logs",
    "logsBloom",
    "miner",
    "number",
    "parentHash",
    "receiptsRoot",
    "removed",
    "root",
    "sha3Uncles",
    "stateRoot",
    "status",
    "timestamp",
    "to",
    "topics",
    "transactionHash",
    "transactionIndex",
    "transactions",
    "transactionsRoot",
    "type",
    "uncles",
];

/// Endpoints that say the same.
pub(crate) struct Alike {
    names: Vec<String>,
    said: Vec<Reply>,
    is_batch: bool,
    is_logs: bool,
}

/// One answer of a packet.
struct Reply {
    id: Value,
    what: Result<Value, ErrorPayload>,
}

impl Alike {
    /// Puts an answer to those that say the same, or begins a group with it. `None` if it makes no sense.
    pub(crate) fn join<'a>(groups: &'a mut Vec<Self>, name: String, answer: &ResponsePacket, is_logs: bool) -> Option<&'a mut Self> {
        let new = Self::read(name, answer, is_logs)?;
        let found = groups.iter().enumerate().find_map(|(at, group)| Some((at, group.common(&new)?)));
        let Some((at, said)) = found else {
            groups.push(new);
            return groups.last_mut();
        };
        let group = groups.get_mut(at)?;
        group.said = said;
        group.names.extend(new.names);
        Some(group)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.names.len()
    }

    pub(crate) fn into_names(self) -> Vec<String> {
        self.names
    }

    /// What all of them say.
    pub(crate) fn answer(&self) -> TransportResult<ResponsePacket> {
        serde_json::from_value(self.to_json()).map_err(TransportErrorKind::custom)
    }

    fn to_json(&self) -> Value {
        let response = |said: &Reply| match &said.what {
            Ok(value) => json!({ "jsonrpc": "2.0", "id": said.id, "result": value }),
            Err(error) => json!({ "jsonrpc": "2.0", "id": said.id, "error": error }),
        };
        let mut responses: Vec<Value> = self.said.iter().map(response).collect();
        match responses.pop() {
            Some(single) if !self.is_batch => single,
            last => Value::Array(responses.into_iter().chain(last).collect()),
        }
    }

    fn read(name: String, answer: &ResponsePacket, is_logs: bool) -> Option<Self> {
        let mut said = Vec::new();
        for response in answer.responses() {
            let reply = Reply::read(response)?;
            // Two answers to one question: the reader of the packet and this one could take different ones.
            if said.iter().any(|other: &Reply| other.id == reply.id) {
                return None;
            }
            said.push(reply);
        }
        Some(Self { names: vec![name], said, is_batch: matches!(answer, ResponsePacket::Batch(_)), is_logs })
    }

    /// What is left of both; `None` if they differ.
    fn common(&self, other: &Self) -> Option<Vec<Reply>> {
        if self.is_batch != other.is_batch || self.said.len() != other.said.len() {
            return None;
        }
        let same = |said: &Reply| said.common(other.said.iter().find(|other| other.id == said.id)?, self.is_logs);
        self.said.iter().map(same).collect()
    }
}

impl Reply {
    fn read(response: &Response) -> Option<Self> {
        let what = match &response.payload {
            ResponsePayload::Success(value) => Ok(serde_json::from_str(value.get()).ok()?),
            ResponsePayload::Failure(error) => Err(error.clone()),
        };
        Some(Self { id: serde_json::to_value(&response.id).ok()?, what })
    }

    fn common(&self, other: &Self, is_logs: bool) -> Option<Self> {
        let what = match (&self.what, &other.what) {
            (Ok(one), Ok(other)) => Ok(common(one, other)?),
            (Err(one), Err(other)) => is_same_no(one, other, is_logs).then(|| Err(one.clone()))?,
            _ => return None,
        };
        Some(Self { id: self.id.clone(), what })
    }
}

/// Codes and texts differ between nodes. Two refusals are the same if whoever asked takes them for the same: a revert with its data, a tag that
/// is not known, a range that is too long. Of all others nothing is decided but what they say word for word.
fn is_same_no(one: &ErrorPayload, other: &ErrorPayload, is_logs: bool) -> bool {
    let data = |error: &ErrorPayload| {
        error.data.as_ref().map(|data| data.get().to_ascii_lowercase()).filter(|data| data != "null" && data != "\"0x\"")
    };
    let of_revert = |error: &ErrorPayload| is_revert(error.code, &error.message, data(error).is_some());
    let of_tag = |error: &ErrorPayload| is_of_tag(error.code, &error.message);
    let of_range = |error: &ErrorPayload| is_logs && !is_of_something_else(error.code, &error.message);
    let classes = |error: &ErrorPayload| (of_revert(error), of_tag(error), of_range(error));
    let (same_class, is_any) = (classes(one) == classes(other), classes(one) != (false, false, false));
    let same_words = || one.code == other.code && one.message == other.message;
    data(one) == data(other) && same_class && (is_any || same_words())
}

/// What is left of both; `None` if they differ.
fn common(one: &Value, other: &Value) -> Option<Value> {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let has = |object: &Map<String, Value>, name: &str| object.get(name).is_some_and(|value| !value.is_null());
            if READ.iter().any(|name| has(one, name) != has(other, name)) {
                return None;
            }
            let shared = one.iter().filter_map(|(name, value)| Some((name, value, other.get(name)?)));
            shared.map(|(name, value, other)| Some((name.clone(), common(value, other)?))).collect::<Option<Map<_, _>>>().map(Value::Object)
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            one.iter().zip(other).map(|(one, other)| common(one, other)).collect::<Option<_>>().map(Value::Array)
        }
        // Some write addresses with a checksum.
        (Value::String(one), Value::String(other))
            if one.starts_with("0x") && other.starts_with("0x") && one.eq_ignore_ascii_case(other) =>
        {
            Some(one.to_ascii_lowercase().into())
        }
        _ => (one == other).then(|| one.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(value: &Value) -> ResponsePacket {
        serde_json::from_value(value.clone()).unwrap()
    }

    fn together(one: &Value, other: &Value) -> Option<Value> {
        together_of(one, other, false)
    }

    /// What two say alike, whoever comes first.
    fn together_of(one: &Value, other: &Value, is_logs: bool) -> Option<Value> {
        let of = |first: &Value, second: &Value| {
            let mut groups = Vec::new();
            Alike::join(&mut groups, "first".into(), &packet(first), is_logs)?;
            let alike = Alike::join(&mut groups, "second".into(), &packet(second), is_logs)?;
            assert!(alike.answer().is_ok(), "{first} {second}");
            (alike.count() == 2).then(|| alike.to_json())
        };
        let (forth, back) = (of(one, other), of(other, one));
        assert_eq!(forth.is_some(), back.is_some(), "{one} {other}");
        forth
    }

    fn ok(result: &Value) -> Value {
        json!({"jsonrpc": "2.0", "id": 1, "result": result})
    }

    fn no(code: i64, message: &str, data: &Value) -> Value {
        json!({"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": message, "data": data}})
    }

    #[test]
    fn what_is_left_is_what_both_say() {
        for (one, other, expected) in [
            (json!("0xAB"), json!("0xab"), Some(json!("0xab"))),
            (json!("0x01"), json!("0x02"), None),
            (json!("0X1"), json!("0x1"), None),
            (json!({"a": "1", "b": "2"}), json!({"a": "1", "c": null}), Some(json!({"a": "1"}))),
            (json!({"a": "1"}), json!({"a": "2"}), None),
            (json!([1]), json!([]), None),
            (json!([{"x": "1", "blobGasUsed": "zz"}]), json!([{"x": "1"}]), Some(json!([{"x": "1"}]))),
            (json!(null), json!({}), None),
            (json!({"status": "0x0"}), json!({"root": "0x1"}), None),
            (json!({"blockHash": "0x1", "to": null}), json!({"blockHash": "0x1"}), Some(json!({"blockHash": "0x1"}))),
            (json!({"blockHash": null}), json!({"blockHash": "0x1"}), None),
            // Without these nothing is read: a true block that lacks one is no block.
            (json!({"hash": "0x1", "logsBloom": "0x0"}), json!({"hash": "0x1"}), None),
            (json!({"status": "0x1", "type": "0x2"}), json!({"status": "0x1"}), None),
        ] {
            let left = together(&ok(&one), &ok(&other));
            assert_eq!(left.map(|left| left["result"].clone()), expected, "{one} {other}");
        }
        assert_eq!(together(&ok(&json!("0x")), &no(3, "no", &json!("0x"))), None);
    }

    #[test]
    fn a_packet_of_another_kind_or_with_two_answers_to_one_question_is_another() {
        let batch = |first: &str, second: &str| json!([{"jsonrpc": "2.0", "id": first, "result": first}, {"jsonrpc": "2.0", "id": second, "result": second}]);
        assert!(together(&batch("1", "2"), &batch("2", "1")).is_some_and(|both| both.as_array().is_some_and(|both| both.len() == 2)));
        assert_eq!(together(&batch("1", "2"), &batch("1", "3")), None);
        assert_eq!(together(&batch("1", "1"), &batch("1", "2")), None);
        assert_eq!(together(&json!([ok(&json!("0x1"))]), &ok(&json!("0x1"))), None);
    }

    #[test]
    fn refusals_are_the_same_if_whoever_asked_takes_them_for_the_same() {
        let null = Value::Null;
        for (one, other, is_logs, expected) in [
            (no(3, "no", &json!("0x08c379a0")), no(-32000, "execution reverted", &json!("0x08C379A0")), false, true),
            (no(3, "no", &json!("0x01")), no(3, "no", &json!("0x02")), false, false),
            (no(3, "execution reverted", &null), no(-32015, "VM execution error", &json!("0x")), false, true),
            // A liar's revert beside a hiccup is no revert of two.
            (no(3, "no", &null), no(-32000, "header not found", &null), false, false),
            (no(-32601, "no such method", &null), no(-32603, "internal error", &null), false, false),
            (no(-32602, "invalid params", &null), no(-32000, "safe block not found", &null), false, true),
            (no(-32005, "more than 10000 results", &null), no(-32600, "block range is too wide", &null), true, true),
            (no(-32000, "header not found", &null), no(-32005, "more than 10000 results", &null), true, false),
            (no(-32000, "header not found", &null), no(-32000, "header not found", &null), false, true),
            (no(-32000, "header not found", &null), no(-32001, "header not found", &null), false, false),
        ] {
            assert_eq!(together_of(&one, &other, is_logs).is_some(), expected, "{one} {other}");
        }
    }
}
