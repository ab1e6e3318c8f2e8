//! Licence expressions (SPDX): whether one can be met with the licences that we accept.

/// Permissive licences. Ours is MIT OR Apache-2.0, and none of these adds a condition on code that is not theirs.
const ACCEPTED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Whether the expression can be met; an error if it cannot be read. `/` is the old way to write OR.
pub(super) fn acceptable(expression: &str) -> Result<bool, String> {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut reader = Reader { words: &words, at: 0 };
    let result = reader.any().filter(|_| reader.at == words.len());
    result.ok_or_else(|| format!("{expression:?} is no licence expression"))
}

struct Reader<'a> {
    words: &'a [&'a str],
    at: usize,
}

impl<'a> Reader<'a> {
    fn any(&mut self) -> Option<bool> {
        let mut met = self.every()?;
        while self.take("OR") {
            met |= self.every()?;
        }
        Some(met)
    }

    fn every(&mut self) -> Option<bool> {
        let mut met = self.one()?;
        while self.take("AND") {
            met &= self.one()?;
        }
        Some(met)
    }

    fn one(&mut self) -> Option<bool> {
        if self.take("(") {
            let met = self.any()?;
            return self.take(")").then_some(met);
        }
        let name = self.next().filter(|word| !matches!(*word, "OR" | "AND" | "WITH" | ")"))?;
        if self.take("WITH") {
            let exception = self.next()?;
            return Some(ACCEPTED.contains(&format!("{name} WITH {exception}").as_str()));
        }
        Some(ACCEPTED.contains(&name))
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.words.get(self.at) == Some(&word);
        self.at += usize::from(found);
        found
    }

    fn next(&mut self) -> Option<&'a str> {
        let word = self.words.get(self.at).copied();
        self.at += 1;
        word
    }
}

#[cfg(test)]
mod tests {
    use super::acceptable;

    #[test]
    fn an_expression_is_met_by_what_we_accept() {
        for good in ["MIT", "MIT/Apache-2.0", "GPL-3.0 OR MIT", "(MIT OR GPL-2.0) AND Unicode-3.0", "Apache-2.0 WITH LLVM-exception"] {
            assert_eq!(acceptable(good), Ok(true), "{good}");
        }
        for bad in ["GPL-3.0-only", "MIT AND GPL-2.0", "MPL-2.0", "Apache-2.0 WITH Some-exception", "mit"] {
            assert_eq!(acceptable(bad), Ok(false), "{bad}");
        }
        for broken in ["", "MIT OR", "(MIT", "MIT Apache-2.0", "OR MIT", "MIT)"] {
            assert!(acceptable(broken).is_err(), "{broken}");
        }
    }
}
