//! Looking for personal values in what was written somewhere, in whichever case and escape. What could be a secret is looked for by
//! [`crate::canaries`].

use std::collections::{BTreeSet, HashMap};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};

/// Bytes by which spellings are told apart before they are compared.
const START: usize = 3;

/// What is looked for.
pub struct Search {
    values: Vec<Wanted>,
    /// By their first bytes, with the value's number.
    spellings: HashMap<[u8; START], Vec<(Vec<u8>, usize)>>,
    /// A bit for each three bytes that a spelling begins with: most of what is looked through begins none.
    starts: Vec<u64>,
}

struct Wanted {
    value: &'static str,
    /// Of a text.
    lower: Option<String>,
    /// Its letters and digits alone; of a telephone number its last ten digits. What is neither has to stand as it is.
    essence: Option<String>,
}

impl Search {
    /// For these.
    pub fn of(values: impl IntoIterator<Item = &'static str>) -> Self {
        let mut search = Self { values: Vec::new(), spellings: HashMap::new(), starts: vec![0; 1 << (8 * START - 6)] };
        for value in values {
            let wanted = Wanted::of(value);
            let spellings = wanted.spellings();
            search.add(wanted, spellings);
        }
        search
    }

    /// Also for bytes, under a name, as they are.
    pub fn and(mut self, name: &'static str, bytes: Vec<u8>) -> Self {
        self.add(Wanted { value: name, lower: None, essence: None }, [bytes]);
        self
    }

    fn add(&mut self, wanted: Wanted, spellings: impl IntoIterator<Item = Vec<u8>>) {
        let number = self.values.len();
        self.values.push(wanted);
        for spelling in spellings {
            let start = *spelling.first_chunk().expect("what is so short is found everywhere");
            self.starts[index(start) >> 6] |= 1 << (index(start) & 63);
            self.spellings.entry(start).or_default().push((spelling, number));
        }
    }

    /// Which of them stand in a text, in their order: as they are, in base64 or hex, escaped as JSON, HTML, Rust and URLs do, in
    /// any case, with anything between their words.
    pub fn in_text(&self, text: &str) -> Vec<&'static str> {
        let mut found = self.numbers_in(text.as_bytes());
        let readable = readable(text);
        let essence = essence(&readable);
        let is_said = |wanted: &Wanted| {
            wanted.lower.as_ref().is_some_and(|lower| readable.contains(lower))
                || wanted.essence.as_ref().is_some_and(|of| essence.contains(of))
        };
        found.extend(self.values.iter().enumerate().filter(|(_, wanted)| is_said(wanted)).map(|(number, _)| number));
        self.named(&found)
    }

    /// The same of bytes, which may be any: where nothing undoes an escape but that of JSON.
    pub fn in_bytes(&self, bytes: &[u8]) -> Vec<&'static str> {
        self.named(&self.numbers_in(bytes))
    }

    fn named(&self, numbers: &BTreeSet<usize>) -> Vec<&'static str> {
        numbers.iter().map(|number| self.values[*number].value).collect()
    }

    fn numbers_in(&self, bytes: &[u8]) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        for at in 0..bytes.len().saturating_sub(START - 1) {
            let start = [bytes[at], bytes[at + 1], bytes[at + 2]];
            if self.starts[index(start) >> 6] >> (index(start) & 63) & 1 == 1 {
                let spellings = self.spellings.get(&start).into_iter().flatten();
                found.extend(spellings.filter(|(of, _)| bytes[at..].starts_with(of)).map(|(_, number)| *number));
            }
        }
        found
    }
}

fn index(start: [u8; START]) -> usize {
    usize::from(start[0]) << 16 | usize::from(start[1]) << 8 | usize::from(start[2])
}

impl Wanted {
    fn of(value: &'static str) -> Self {
        let lower = value.to_lowercase();
        let essence = essence(&lower);
        let essence = match (lower.starts_with('+'), lower.chars().any(char::is_alphabetic)) {
            (true, _) => Some(essence[essence.len() - 10..].to_owned()),
            (_, true) => Some(essence),
            _ => None,
        };
        Self { value, lower: Some(lower), essence }
    }

    /// As bytes that it could stand there in.
    fn spellings(&self) -> BTreeSet<Vec<u8>> {
        let mut all = BTreeSet::new();
        let digits = self.essence.clone().filter(|_| self.value.starts_with('+'));
        let cases = [self.value.to_owned(), self.value.to_lowercase(), self.value.to_uppercase()];
        for text in cases.into_iter().chain(digits) {
            let escaped = |keep: fn(char) -> bool| escaped(&text, keep);
            all.extend([escaped(|char| char.is_ascii()), escaped(|_| false)].map(String::into_bytes));
            all.extend([escaped(|char| char.is_ascii()), escaped(|_| false)].map(|text| upper_hex(&text).into_bytes()));
            let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
            all.extend([hex.to_uppercase(), hex, text.replace('/', "\\/")].map(String::into_bytes));
            // Where base64 begins depends on what stands before; what the neighbours change is left out.
            for before in 0..3 {
                let padded = [&vec![0; before][..], text.as_bytes()].concat();
                let whole = padded.len() / 3 * 4;
                for coded in [STANDARD_NO_PAD.encode(&padded), URL_SAFE_NO_PAD.encode(&padded)] {
                    all.insert(coded.as_bytes()[[0, 2, 3][before]..whole].to_vec());
                }
            }
            all.insert(text.into_bytes());
        }
        all
    }
}

/// As JSON may escape a text, but for the signs that are to be kept.
pub fn escaped(text: &str, keep: impl Fn(char) -> bool) -> String {
    let mut escaped = String::new();
    for char in text.chars() {
        match keep(char) {
            true => escaped.push(char),
            false => escaped.extend(char.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}"))),
        }
    }
    escaped
}

fn upper_hex(escaped: &str) -> String {
    escaped.to_uppercase().replace("\\U", "\\u")
}

/// Letters and digits.
fn essence(text: &str) -> String {
    let bytes = text.bytes().filter(|byte| !byte.is_ascii() || byte.is_ascii_alphanumeric()).collect();
    String::from_utf8(bytes).expect("what is not ASCII stays whole")
}

/// A text without escapes, however often they were put one over the other, in small letters.
fn readable(text: &str) -> String {
    let mut text = text.to_owned();
    loop {
        let next = String::from_utf8_lossy(&unescaped(text.as_bytes())).into_owned();
        if next == text {
            return text.to_lowercase();
        }
        text = next;
    }
}

fn unescaped(mut rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(rest.len());
    let mut first_half = None;
    while let [first, behind @ ..] = rest {
        let escape = match first {
            b'\\' => of_backslash(behind),
            b'%' => number(behind, 2, 16).map(|byte| (Sign::Byte(u8::try_from(byte).expect("two digits")), 2)),
            b'&' => of_ampersand(behind),
            _ => None,
        };
        let Some((sign, length)) = escape else {
            out.push(*first);
            rest = behind;
            continue;
        };
        rest = &behind[length..];
        let unit = match sign {
            Sign::Byte(byte) => {
                out.push(byte);
                continue;
            }
            Sign::Nothing => continue,
            Sign::Unit(unit) => unit,
        };
        // Two halves of UTF-16 make one.
        let code = match (first_half.take(), unit) {
            (_, 0xd800..0xdc00) => {
                first_half = Some(unit);
                continue;
            }
            (Some(half), 0xdc00..0xe000) => 0x1_0000 + ((half - 0xd800) << 10) + (unit - 0xdc00),
            _ => unit,
        };
        let char = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
        out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
    }
    out
}

enum Sign {
    Byte(u8),
    Unit(u32),
    Nothing,
}

/// `\u0417`, `\u{417}`, `\x5a`; of anything else the backslash goes.
fn of_backslash(behind: &[u8]) -> Option<(Sign, usize)> {
    let unit = match behind {
        [b'u', b'{', digits @ ..] => {
            let length = digits.iter().position(|byte| *byte == b'}').filter(|length| (1..=6).contains(length));
            length.and_then(|length| Some((Sign::Unit(number(digits, length, 16)?), length + 3)))
        }
        [b'u', digits @ ..] => number(digits, 4, 16).map(|unit| (Sign::Unit(unit), 5)),
        [b'x', digits @ ..] => {
            number(digits, 2, 16).map(|byte| (Sign::Byte(u8::try_from(byte).expect("two digits")), 3))
        }
        _ => None,
    };
    unit.or(Some((Sign::Nothing, 0)))
}

/// `&amp;`, `&#1047;`, `&#x417;`.
fn of_ampersand(behind: &[u8]) -> Option<(Sign, usize)> {
    for (name, byte) in [("amp;", b'&'), ("lt;", b'<'), ("gt;", b'>'), ("quot;", b'"'), ("apos;", b'\'')] {
        if behind.starts_with(name.as_bytes()) {
            return Some((Sign::Byte(byte), name.len()));
        }
    }
    let digits = behind.strip_prefix(b"#")?;
    let (digits, radix, before) = match digits.strip_prefix(b"x") {
        Some(digits) => (digits, 16, 2),
        None => (digits, 10, 1),
    };
    let length = digits.iter().position(|byte| *byte == b';').filter(|length| (1..=7).contains(length))?;
    Some((Sign::Unit(number(digits, length, radix)?), before + length + 1))
}

fn number(digits: &[u8], length: usize, radix: u32) -> Option<u32> {
    let digits = std::str::from_utf8(digits.get(..length)?).ok()?;
    u32::from_str_radix(digits, radix).ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    const VALUES: [&str; 4] = ["Зебедей Петрович", "zebedee.q@planted.example", "+1 555 010 7788", "98.51.100.77"];

    #[test]
    fn a_value_is_found_in_every_spelling() {
        let search = Search::of(VALUES);
        for value in VALUES {
            let json = serde_json::json!({ "a": serde_json::json!({ "b": value }).to_string() });
            let spelled = [
                value.to_owned(),
                value.to_uppercase(),
                json.to_string(),
                serde_json::json!(escaped(value, |_| false)).to_string(),
                format!("{:?}", Some(escaped(value, |char| char.is_alphabetic()))),
                value.bytes().map(|byte| format!("%{byte:02X}")).collect(),
                value.bytes().map(|byte| format!("%25{byte:02x}")).collect(),
                value.bytes().map(|byte| format!("\\x{byte:02x}")).collect(),
                value.bytes().map(|byte| format!("{byte:02X}")).collect(),
                value.chars().map(|char| format!("&#{};", u32::from(char))).collect(),
                value.chars().map(|char| format!("\\u{{{:x}}}", u32::from(char))).collect(),
                STANDARD.encode(format!("{value} and more")),
                STANDARD.encode(format!("x{value} and more")),
                STANDARD.encode(format!("xx{value} and more")),
            ];
            for text in spelled {
                assert_eq!(search.in_text(&format!("before {text} after")), [value], "{text}");
            }
        }
        for number in ["(555) 010-7788", "0015550107788", "555.010.7788", "+1%20555%20010%2D7788"] {
            assert_eq!(search.in_text(number), ["+1 555 010 7788"], "{number}");
        }
        assert_eq!(search.in_text("zebedee_q+planted/example"), [VALUES[1]]);
        assert_eq!(search.in_text("Zebedee Petrovitch, 98 51 100 77, 555 010 778"), [""; 0]);
    }

    #[test]
    fn and_in_bytes() {
        let search = Search::of(VALUES);
        let bytes = [&[0, 255, 92][..], "ЗЕБЕДЕЙ ПЕТРОВИЧ".as_bytes(), &[254], b"5550107788\0"].concat();
        assert_eq!(search.in_bytes(&bytes), [VALUES[0], VALUES[2]]);
        assert_eq!(search.in_bytes(escaped(VALUES[0], |_| false).as_bytes()), [VALUES[0]]);
        assert_eq!(search.in_bytes(&[0; 64]), [""; 0]);
    }
}
