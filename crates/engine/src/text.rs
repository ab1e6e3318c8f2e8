//! Bytes to text while they arrive: a character whose bytes are not all there yet is held back.
//!
//! Spec: det-1.md §7 "Text".

/// Decodes UTF-8 in parts. The concatenation of all it releases is the lossy decoding of all it was given.
#[derive(Clone, Debug, Default)]
pub struct TextDecoder {
    /// The start of an incomplete character: at most three bytes.
    held: Vec<u8>,
}

impl TextDecoder {
    /// Takes `bytes` and appends the complete characters to `out`; what cannot be UTF-8 is U+FFFD, one per maximal invalid part.
    pub fn push(&mut self, bytes: &[u8], out: &mut String) {
        self.held.extend(bytes);
        let mut rest = self.held.as_slice();
        loop {
            let error = match std::str::from_utf8(rest) {
                Ok(text) => {
                    out.push_str(text);
                    rest = &[];
                    break;
                }
                Err(error) => error,
            };
            let (valid, after) = rest.split_at(error.valid_up_to());
            out.push_str(&String::from_utf8_lossy(valid));
            rest = after;
            // Without a length, the rest is a prefix of some character: wait for more.
            let Some(invalid) = error.error_len() else { break };
            out.push(char::REPLACEMENT_CHARACTER);
            rest = after.get(invalid..).unwrap_or_default();
        }
        let keep = rest.len();
        self.held.drain(..self.held.len() - keep);
    }

    /// Ends the text: a held-back part becomes one U+FFFD.
    pub fn finish(&mut self, out: &mut String) {
        if !self.held.is_empty() {
            self.held.clear();
            out.push(char::REPLACEMENT_CHARACTER);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn incomplete_characters_are_held_back() {
        let mut decoder = TextDecoder::default();
        let mut out = String::new();
        let mut after = Vec::new();
        for byte in "a€😀".bytes() {
            decoder.push(&[byte], &mut out);
            after.push(out.clone());
        }
        assert_eq!(after, ["a", "a", "a", "a€", "a€", "a€", "a€", "a€😀"]);
        decoder.push(&[0xe2, 0x82], &mut out);
        decoder.finish(&mut out);
        assert_eq!(out, "a€😀\u{fffd}");
    }

    proptest! {
        #[test]
        fn any_cutting_gives_the_lossy_decoding(bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(0xe2), Just(0x82), Just(0xac), Just(0xf0)], 0..60), cuts in prop::collection::vec(1usize..5, 60)) {
            let mut decoder = TextDecoder::default();
            let mut out = String::new();
            let mut rest = bytes.as_slice();
            for cut in cuts {
                let (part, tail) = rest.split_at(cut.min(rest.len()));
                decoder.push(part, &mut out);
                rest = tail;
            }
            decoder.push(rest, &mut out);
            decoder.finish(&mut out);
            prop_assert_eq!(out, String::from_utf8_lossy(&bytes));
        }
    }
}
