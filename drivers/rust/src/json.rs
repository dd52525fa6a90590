// SPDX-License-Identifier: Apache-2.0 OR MIT
//! JSON as far as a program's description goes, read in place: a cursor over the text.

/// The text is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bad;

pub type Result<T> = core::result::Result<T, Bad>;

/// A position in the text.
#[derive(Clone, Copy, Debug)]
pub struct Json<'a> {
    rest: &'a [u8],
}

impl<'a> Json<'a> {
    pub fn new(text: &'a [u8]) -> Self {
        Json { rest: text }
    }

    fn skip_space(&mut self) {
        while let [b' ' | b'\n' | b'\r' | b'\t', tail @ ..] = self.rest {
            self.rest = tail;
        }
    }

    /// Takes `c` if it is next.
    fn take(&mut self, c: u8) -> bool {
        self.skip_space();
        match self.rest {
            [first, tail @ ..] if *first == c => {
                self.rest = tail;
                true
            }
            _ => false,
        }
    }

    fn expect(&mut self, c: u8) -> Result<()> {
        self.take(c).then_some(()).ok_or(Bad)
    }

    /// A string between its quotes, escapes unresolved.
    pub fn string(&mut self) -> Result<&'a [u8]> {
        self.expect(b'"')?;
        let mut n = 0;
        loop {
            match self.rest.get(n).ok_or(Bad)? {
                b'"' => break,
                b'\\' => n += 2,
                _ => n += 1,
            }
        }
        let (text, tail) = self.rest.split_at(n);
        self.rest = &tail[1..];
        Ok(text)
    }

    /// Goes through an object; `value` must take each value.
    pub fn object(&mut self, mut value: impl FnMut(&[u8], &mut Json<'a>) -> Result<()>) -> Result<()> {
        self.expect(b'{')?;
        let mut first = true;
        while !self.take(b'}') {
            if !first {
                self.expect(b',')?;
            }
            first = false;
            let key = self.string()?;
            self.expect(b':')?;
            value(key, self)?;
        }
        Ok(())
    }

    /// Goes through an array.
    pub fn array(&mut self, mut element: impl FnMut(usize, &mut Json<'a>) -> Result<()>) -> Result<()> {
        self.expect(b'[')?;
        let mut n = 0;
        while !self.take(b']') {
            if n > 0 {
                self.expect(b',')?;
            }
            element(n, self)?;
            n += 1;
        }
        Ok(())
    }

    /// The value of a key of this object.
    pub fn find(mut self, name: &str) -> Result<Json<'a>> {
        let mut found = None;
        self.object(|key, value| {
            if key == name.as_bytes() && found.is_none() {
                found = Some(*value);
            }
            value.skip()
        })?;
        found.ok_or(Bad)
    }

    /// The bytes of a number or word.
    fn word(&mut self) -> Result<&'a str> {
        self.skip_space();
        let ends = |b: &u8| b",:]}[{\" \n\r\t".contains(b);
        let n = self.rest.iter().position(ends).unwrap_or(self.rest.len());
        let (word, tail) = self.rest.split_at(n);
        self.rest = tail;
        core::str::from_utf8(word).map_err(|_| Bad).and_then(|w| if w.is_empty() { Err(Bad) } else { Ok(w) })
    }

    pub fn natural(&mut self) -> Result<u64> {
        self.word()?.parse().map_err(|_| Bad)
    }

    pub fn integer(&mut self) -> Result<i64> {
        self.word()?.parse().map_err(|_| Bad)
    }

    pub fn float(&mut self) -> Result<f64> {
        self.word()?.parse().map_err(|_| Bad)
    }

    pub fn boolean(&mut self) -> Result<bool> {
        self.word()?.parse().map_err(|_| Bad)
    }

    /// Passes over one value of any kind.
    pub fn skip(&mut self) -> Result<()> {
        let mut depth = 0usize;
        loop {
            self.skip_space();
            match *self.rest.first().ok_or(Bad)? {
                b'"' => drop(self.string()?),
                b'{' | b'[' => {
                    depth += 1;
                    self.rest = &self.rest[1..];
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1).ok_or(Bad)?;
                    self.rest = &self.rest[1..];
                }
                b',' | b':' if depth > 0 => self.rest = &self.rest[1..],
                _ => drop(self.word()?),
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_values_and_passes_over_others() {
        let json = Json::new(br#"{"a": [1, {"b": "}\"]"}], "n" : -7, "f": 1.5e-3, "t":true}"#);
        assert_eq!(json.find("n").and_then(|mut j| j.integer()), Ok(-7));
        assert_eq!(json.find("f").and_then(|mut j| j.float()), Ok(1.5e-3));
        assert_eq!(json.find("t").and_then(|mut j| j.boolean()), Ok(true));
        assert_eq!(json.find("b").map(|_| ()), Err(Bad));
    }

    #[test]
    fn damaged_text_is_an_error_and_never_a_panic() {
        let whole = br#"{"a": [1, {"b": "}\"]"}], "n" : -7}"#;
        for n in 0..whole.len() {
            assert_eq!(Json::new(&whole[..n]).find("n").map(|_| ()), Err(Bad), "{n}");
        }
        for i in 0..whole.len() {
            for byte in [0, b'"', b'{', b'}', b'[', b'\\', 0xff] {
                let mut text = *whole;
                text[i] = byte;
                let _ = Json::new(&text).find("n").and_then(|mut j| j.integer());
            }
        }
    }
}
