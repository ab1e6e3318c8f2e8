//! A strict reader of JSON (RFC 8259) for the two texts that a receipt of a public answer speaks of: the question's body and the frames.
//!
//! Callers walk what they look for and skip the rest, which is checked all the same: syntax, depth, and that no object names a member twice.
//! Nothing is built but the strings that are asked for, and the names of open objects. Not here: numbers as values; nobody asks for one.

use alloc::collections::BTreeSet;
use alloc::string::String;

/// Nesting that is read; bodies and frames need less than ten.
const DEPTH_MAX: usize = 32;

/// Why a text is not what is read here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum JsonError {
    /// Not JSON at this byte.
    Syntax(usize),
    /// More than [`DEPTH_MAX`] values inside each other.
    Depth,
    /// An object that names a member twice: readers disagree about which one counts.
    Twice,
    /// JSON, and of another shape than is read here.
    Shape,
}

/// A place in a text.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
}

/// The whole text, which is one value.
pub(crate) fn read<T>(bytes: &[u8], value: impl FnOnce(&mut Reader<'_>) -> Result<T, JsonError>) -> Result<T, JsonError> {
    let mut reader = Reader { bytes, at: 0, depth: 0 };
    let read = value(&mut reader)?;
    reader.space();
    if reader.at == bytes.len() { Ok(read) } else { Err(JsonError::Syntax(reader.at)) }
}

impl Reader<'_> {
    /// Reads an object; `member` is called with each name and must read or skip the value.
    pub(crate) fn object(&mut self, mut member: impl FnMut(&str, &mut Self) -> Result<(), JsonError>) -> Result<(), JsonError> {
        if self.peek() != Some(b'{') {
            return self.other();
        }
        self.enter()?;
        let mut names = BTreeSet::new();
        let mut is_first = true;
        while !self.closes(b'}', &mut is_first)? {
            self.peek();
            let name = self.text()?;
            self.token(b':')?;
            member(&name, self)?;
            if !names.insert(name) {
                return Err(JsonError::Twice);
            }
        }
        Ok(())
    }

    /// Reads an array; `item` is called with each index and must read or skip the value.
    pub(crate) fn array(&mut self, mut item: impl FnMut(usize, &mut Self) -> Result<(), JsonError>) -> Result<(), JsonError> {
        if self.peek() != Some(b'[') {
            return self.other();
        }
        self.enter()?;
        let mut is_first = true;
        let mut index = 0_usize;
        while !self.closes(b']', &mut is_first)? {
            item(index, self)?;
            index = index.saturating_add(1);
        }
        Ok(())
    }

    /// Reads a string.
    pub(crate) fn string(&mut self) -> Result<String, JsonError> {
        if self.peek() == Some(b'"') { self.text() } else { self.other() }
    }

    /// Reads `true` or `false`.
    pub(crate) fn boolean(&mut self) -> Result<bool, JsonError> {
        match self.peek() {
            Some(b't') => self.word(b"true").map(|()| true),
            Some(b'f') => self.word(b"false").map(|()| false),
            _ => self.other(),
        }
    }

    /// Whether the next value is `null`, which is then read.
    pub(crate) fn null(&mut self) -> Result<bool, JsonError> {
        if self.peek() == Some(b'n') { self.word(b"null").map(|()| true) } else { Ok(false) }
    }

    /// Whether the next value is the number 1, as people write it, which is then read.
    pub(crate) fn one(&mut self) -> Result<bool, JsonError> {
        self.peek();
        let from = self.at;
        self.skip()?;
        Ok(self.bytes.get(from..self.at) == Some(b"1"))
    }

    /// Reads a value of any kind.
    pub(crate) fn skip(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'{') => self.object(|_, reader| reader.skip()),
            Some(b'[') => self.array(|_, reader| reader.skip()),
            Some(b'"') => self.text().map(drop),
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            _ => self.number(),
        }
    }

    fn space(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at = self.at.saturating_add(1);
        }
    }

    fn peek(&mut self) -> Option<u8> {
        self.space();
        self.bytes.get(self.at).copied()
    }

    fn next(&mut self) -> Result<u8, JsonError> {
        let byte = *self.bytes.get(self.at).ok_or(JsonError::Syntax(self.at))?;
        self.at = self.at.saturating_add(1);
        Ok(byte)
    }

    fn token(&mut self, wanted: u8) -> Result<(), JsonError> {
        self.space();
        let at = self.at;
        if self.next()? == wanted { Ok(()) } else { Err(JsonError::Syntax(at)) }
    }

    fn word(&mut self, wanted: &[u8]) -> Result<(), JsonError> {
        let end = self.at.saturating_add(wanted.len());
        if self.bytes.get(self.at..end) != Some(wanted) {
            return Err(JsonError::Syntax(self.at));
        }
        self.at = end;
        Ok(())
    }

    /// A value of another kind than the caller wants, if it is a value.
    fn other<T>(&mut self) -> Result<T, JsonError> {
        self.skip()?;
        Err(JsonError::Shape)
    }

    fn enter(&mut self) -> Result<(), JsonError> {
        self.at = self.at.saturating_add(1);
        self.depth = self.depth.saturating_add(1);
        if DEPTH_MAX < self.depth { Err(JsonError::Depth) } else { Ok(()) }
    }

    /// Whether the container ends here; else the comma before its next value is read.
    fn closes(&mut self, end: u8, is_first: &mut bool) -> Result<bool, JsonError> {
        if self.peek() == Some(end) {
            self.at = self.at.saturating_add(1);
            self.depth = self.depth.saturating_sub(1);
            return Ok(true);
        }
        if !core::mem::take(is_first) {
            self.token(b',')?;
            // No value, and no comma before the end, may be left out.
            if matches!(self.peek(), Some(byte) if byte == end) {
                return Err(JsonError::Syntax(self.at));
            }
        }
        Ok(false)
    }

    fn number(&mut self) -> Result<(), JsonError> {
        let syntax = JsonError::Syntax(self.at);
        if self.bytes.get(self.at) == Some(&b'-') {
            self.at = self.at.saturating_add(1);
        }
        match self.next()? {
            b'0' => {}
            b'1'..=b'9' => drop(self.digits()),
            _ => return Err(syntax),
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at = self.at.saturating_add(1);
            if self.digits() == 0 {
                return Err(syntax);
            }
        }
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            self.at = self.at.saturating_add(1);
            if matches!(self.bytes.get(self.at), Some(b'+' | b'-')) {
                self.at = self.at.saturating_add(1);
            }
            if self.digits() == 0 {
                return Err(syntax);
            }
        }
        Ok(())
    }

    fn digits(&mut self) -> usize {
        let from = self.at;
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at = self.at.saturating_add(1);
        }
        self.at.saturating_sub(from)
    }

    /// A string, unescaped. A lone surrogate is no Unicode text, and refused.
    fn text(&mut self) -> Result<String, JsonError> {
        self.token(b'"')?;
        let mut out = String::new();
        loop {
            let from = self.at;
            while !matches!(self.bytes.get(self.at), None | Some(b'"' | b'\\' | 0..=0x1f)) {
                self.at = self.at.saturating_add(1);
            }
            let plain = self.bytes.get(from..self.at).unwrap_or_default();
            out.push_str(core::str::from_utf8(plain).map_err(|_| JsonError::Syntax(from))?);
            let at = self.at;
            match self.next()? {
                b'"' => return Ok(out),
                b'\\' => out.push(self.escape()?),
                _ => return Err(JsonError::Syntax(at)),
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let at = self.at;
        Ok(match self.next()? {
            plain @ (b'"' | b'\\' | b'/') => char::from(plain),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.hex4()?;
                let code = if (0xd800..0xdc00).contains(&first) {
                    self.word(b"\\u")?;
                    let second = self.hex4()?;
                    if !(0xdc00..0xe000).contains(&second) {
                        return Err(JsonError::Syntax(at));
                    }
                    0x1_0000_u32.saturating_add((first & 0x3ff) << 10 | second & 0x3ff)
                } else {
                    first
                };
                char::from_u32(code).ok_or(JsonError::Syntax(at))?
            }
            _ => return Err(JsonError::Syntax(at)),
        })
    }

    fn hex4(&mut self) -> Result<u32, JsonError> {
        let mut code = 0;
        for _ in 0..4 {
            let at = self.at;
            code = code << 4 | char::from(self.next()?).to_digit(16).ok_or(JsonError::Syntax(at))?;
        }
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &[u8]) -> Result<(), JsonError> {
        read(text, |reader| reader.skip())
    }

    #[test]
    fn what_rfc_8259_calls_json_is_read() {
        for text in [
            r#"{}"#,
            r#" [ ] "#,
            r#"{"a":[1,-0,0.5,1e9,-2.5E-3],"b":{"c":null,"d":true,"e":false}}"#,
            r#""\u00e4\"\\\/\b\f\n\r\t""#,
            "0",
            r#"{"a":{"a":1},"A":2}"#,
        ] {
            assert_eq!(whole(text.as_bytes()), Ok(()), "{text}");
        }
        let deep = |n: usize| ["[".repeat(n), "]".repeat(n)].concat();
        assert_eq!((whole(deep(32).as_bytes()), whole(deep(33).as_bytes())), (Ok(()), Err(JsonError::Depth)));
    }

    #[test]
    fn what_it_does_not_is_refused() {
        for text in [
            "",
            " ",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "[,1]",
            "{,}",
            "[1 2]",
            "{\"a\" 1}",
            "{a:1}",
            "01",
            "1.",
            ".5",
            "-",
            "1e",
            "+1",
            "tru",
            "nul",
            "\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\n\"",
            "{} {}",
            "[]]",
            "'a'",
            "\"\\ud800\"",
            "\"\\ud800\\u0041\"",
            "\"\\udc00\"",
            "NaN",
        ] {
            assert!(matches!(whole(text.as_bytes()), Err(JsonError::Syntax(_))), "{text}");
        }
        assert!(matches!(whole(b"\"\xff\""), Err(JsonError::Syntax(_))));
        for twice in [r#"{"a":1,"a":2}"#, r#"[{"x":{"b":1,"\u0062":2}}]"#] {
            assert_eq!(whole(twice.as_bytes()), Err(JsonError::Twice), "{twice}");
        }
    }

    #[test]
    fn strings_are_unescaped() {
        let text = |json: &str| read(json.as_bytes(), |reader| reader.string());
        assert_eq!(text(r#""Gr\u00f6\u00dfe \ud83d\ude00 \"\n""#).as_deref(), Ok("Größe \u{1f600} \"\n"));
        assert_eq!(text("{}"), Err(JsonError::Shape));
    }
}
