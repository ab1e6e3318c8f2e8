//! A small strict JSON reader (RFC 8259), for what cargo and npm print about themselves.
//!
//! Not here: writing, numbers as numbers (their text is kept), speed.

use std::iter::Peekable;
use std::str::CharIndices;

/// Deeper nesting than any cargo output has; it bounds the recursion.
const MAX_DEPTH: usize = 64;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl Value {
    /// The member of an object, `None` if it is absent or null.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        let Self::Object(members) = self else { return None };
        members.iter().find(|(name, _)| name == key).map(|(_, value)| value).filter(|value| **value != Self::Null)
    }

    pub(crate) fn field(&self, key: &str) -> Result<&Self, String> {
        self.get(key).ok_or_else(|| format!("expected a member `{key}`"))
    }

    pub(crate) fn text(&self) -> Result<&str, String> {
        match self {
            Self::Text(text) => Ok(text),
            other => Err(format!("expected a string, got {other:?}")),
        }
    }

    pub(crate) fn list(&self) -> Result<&[Self], String> {
        match self {
            Self::List(items) => Ok(items),
            other => Err(format!("expected a list, got {other:?}")),
        }
    }
}

/// Parses one JSON text: nothing after it, no duplicate names, no control characters in strings.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    let mut reader = Reader { text, chars: text.char_indices().peekable() };
    let value = reader.value(0)?;
    reader.space();
    match reader.chars.next() {
        None => Ok(value),
        Some((at, found)) => Err(format!("{found:?} after the end, at byte {at}")),
    }
}

struct Reader<'a> {
    text: &'a str,
    chars: Peekable<CharIndices<'a>>,
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> Result<Value, String> {
        if MAX_DEPTH < depth {
            return Err(format!("nested deeper than {MAX_DEPTH}"));
        }
        self.space();
        match self.chars.peek() {
            Some((_, '{')) => self.object(depth),
            Some((_, '[')) => self.array(depth),
            Some((_, '"')) => Ok(Value::Text(self.string()?)),
            Some((_, '-' | '0'..='9')) => self.number(),
            Some((_, 'a'..='z')) => self.word(),
            Some((at, found)) => Err(format!("unexpected {found:?} at byte {at}")),
            None => Err("unexpected end".into()),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, String> {
        self.expect('{')?;
        let mut members: Vec<(String, Value)> = Vec::new();
        self.space();
        if self.take('}') {
            return Ok(Value::Object(members));
        }
        loop {
            self.space();
            let name = self.string()?;
            if members.iter().any(|(other, _)| *other == name) {
                return Err(format!("the name {name:?} comes twice"));
            }
            self.space();
            self.expect(':')?;
            members.push((name, self.value(depth + 1)?));
            self.space();
            if self.take('}') {
                return Ok(Value::Object(members));
            }
            self.expect(',')?;
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, String> {
        self.expect('[')?;
        let mut items = Vec::new();
        self.space();
        if self.take(']') {
            return Ok(Value::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.space();
            if self.take(']') {
                return Ok(Value::List(items));
            }
            self.expect(',')?;
        }
    }

    fn string(&mut self) -> Result<String, String> {
        self.expect('"')?;
        let mut out = String::new();
        loop {
            match self.next()? {
                (_, '"') => return Ok(out),
                (_, '\\') => out.push(self.escape()?),
                (at, '\0'..='\x1f') => return Err(format!("control character in a string, at byte {at}")),
                (_, other) => out.push(other),
            }
        }
    }

    fn escape(&mut self) -> Result<char, String> {
        Ok(match self.next()? {
            (_, 'n') => '\n',
            (_, 't') => '\t',
            (_, 'r') => '\r',
            (_, 'b') => '\u{8}',
            (_, 'f') => '\u{c}',
            (_, same @ ('"' | '\\' | '/')) => same,
            (at, 'u') => {
                let first = self.four_hex()?;
                if !(0xd800..0xdc00).contains(&first) {
                    return char::from_u32(first).ok_or_else(|| format!("lone surrogate at byte {at}"));
                }
                self.expect('\\')?;
                self.expect('u')?;
                let second = self.four_hex()?;
                let low = second.checked_sub(0xdc00).filter(|low| *low < 0x400);
                low.and_then(|low| char::from_u32(0x10000 + ((first - 0xd800) << 10) + low))
                    .ok_or_else(|| format!("broken surrogate pair at byte {at}"))?
            }
            (at, other) => return Err(format!("unknown escape \\{other} at byte {at}")),
        })
    }

    fn four_hex(&mut self) -> Result<u32, String> {
        let mut value = 0;
        for _ in 0..4 {
            let (at, digit) = self.next()?;
            value = value * 16 + digit.to_digit(16).ok_or_else(|| format!("{digit:?} is no hex digit, at byte {at}"))?;
        }
        Ok(value)
    }

    fn number(&mut self) -> Result<Value, String> {
        let text = self.run(|c| matches!(c, '0'..='9' | '-' | '+' | '.' | 'e' | 'E'));
        // Rust's grammar is a little wider than JSON's: leading zeros and bare dots.
        let digits = text.strip_prefix('-').unwrap_or(&text);
        let leading_zero = digits.starts_with('0') && digits[1..].starts_with(|c: char| c.is_ascii_digit());
        let bare_dot = digits.starts_with('.') || digits.ends_with('.') || digits.contains(".e") || digits.contains(".E");
        if leading_zero || bare_dot || text.parse::<f64>().is_err() {
            return Err(format!("{text:?} is no number"));
        }
        Ok(Value::Number(text))
    }

    fn word(&mut self) -> Result<Value, String> {
        match self.run(|c| c.is_ascii_lowercase()).as_str() {
            "null" => Ok(Value::Null),
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            other => Err(format!("unexpected {other:?}")),
        }
    }

    fn run(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let start = self.chars.peek().map_or(self.text.len(), |(at, _)| *at);
        while self.chars.next_if(|(_, c)| wanted(*c)).is_some() {}
        let end = self.chars.peek().map_or(self.text.len(), |(at, _)| *at);
        self.text[start..end].to_string()
    }

    fn space(&mut self) {
        while self.chars.next_if(|(_, c)| matches!(c, ' ' | '\t' | '\n' | '\r')).is_some() {}
    }

    fn take(&mut self, wanted: char) -> bool {
        self.chars.next_if(|(_, c)| *c == wanted).is_some()
    }

    fn expect(&mut self, wanted: char) -> Result<(), String> {
        match self.next()? {
            (_, found) if found == wanted => Ok(()),
            (at, found) => Err(format!("expected {wanted:?}, got {found:?} at byte {at}")),
        }
    }

    fn next(&mut self) -> Result<(usize, char), String> {
        self.chars.next().ok_or_else(|| "unexpected end".into())
    }
}

#[cfg(test)]
mod tests {
    use super::{Value, parse};

    #[test]
    fn reads_what_cargo_prints() {
        let value = parse(r#" {"a":[1,-2.5e3,null,true],"b":{"c":"x\n\u00e9\ud83d\ude00/"}} "#).expect("valid");
        assert_eq!(value.field("a").and_then(Value::list).expect("list").len(), 4);
        let inner = value.field("b").and_then(|b| b.field("c")).and_then(Value::text);
        assert_eq!(inner, Ok("x\né😀/"));
        assert_eq!(value.get("missing"), None);
    }

    #[test]
    fn refuses_what_is_not_json() {
        let refused = [
            "",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "{\"a\":1,\"a\":2}",
            "01",
            "1.",
            ".5",
            "-",
            "nul",
            "\"\n\"",
            "\"\\x\"",
            "\"\\ud800\"",
            "1 2",
            "'a'",
        ];
        for text in refused {
            assert!(parse(text).is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        assert!(parse(&"[".repeat(100_000)).is_err());
    }
}
