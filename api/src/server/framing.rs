//! Where requests begin and end, read more strictly than hyper reads it.
//!
//! Two programs that disagree about where a request ends let one client put words into another's mouth. So what the
//! standard lets a server mend or guess is refused here, before hyper sees it: a bare line feed, a folded line, a length
//! that is there twice or beside a transfer coding, any coding but `chunked`.

use crate::ApiError;

/// A request's first line. Nothing that we serve comes near it.
const MAX_LINE_BYTES: usize = 8 * 1024;
/// First line and headers, or the trailers, together.
const MAX_HEAD_BYTES: usize = 32 * 1024;
const MAX_HEADERS: usize = 100;
/// Of a chunk's size and whatever a client adds to it.
const MAX_CHUNK_LINE_BYTES: usize = 256;
/// A body of single bytes costs more to take apart than it is worth.
const MAX_CHUNKS: u32 = 64 * 1024;

/// Follows what a client sends, piece by piece as it comes.
#[derive(Debug, Default)]
pub struct Framing {
    part: Part,
    /// The line that is being read.
    line: Vec<u8>,
    head: Head,
    complete: u64,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Part {
    #[default]
    FirstLine,
    Header,
    /// So many bytes of a body whose length is known.
    Body(u64),
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailer,
}

#[derive(Debug, Default)]
struct Head {
    bytes: usize,
    headers: usize,
    length: Option<u64>,
    is_chunked: bool,
    chunks: u32,
    has_host: bool,
}

impl Framing {
    /// Requests that have come to their end.
    pub fn complete(&self) -> u64 {
        self.complete
    }

    /// Whether nothing of the next request is there yet.
    pub fn is_between(&self) -> bool {
        self.part == Part::FirstLine && self.line.is_empty() && self.head.bytes == 0
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// What to answer. Nothing that follows can be understood.
    pub fn take(&mut self, mut bytes: &[u8]) -> Result<(), ApiError> {
        while !bytes.is_empty() {
            bytes = match self.part {
                Part::Body(left) => self.skip(bytes, left, Part::Body),
                Part::Chunk(left) => self.skip(bytes, left, Part::Chunk),
                _ => self.take_line(bytes)?,
            };
        }
        Ok(())
    }

    fn skip<'a>(&mut self, bytes: &'a [u8], left: u64, part: fn(u64) -> Part) -> &'a [u8] {
        let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        match left - here as u64 {
            0 if self.part == Part::Chunk(left) => self.part = Part::ChunkEnd,
            0 => self.end(),
            left => self.part = part(left),
        }
        &bytes[here..]
    }

    /// Takes bytes up to the end of a line, if it is there.
    fn take_line<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], ApiError> {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let here = end.map_or(bytes.len(), |end| end + 1);
        self.head.bytes += here;
        let length = self.line.len() + here;
        match self.part {
            Part::FirstLine if length > MAX_LINE_BYTES => return Err(ApiError::UriTooLong),
            Part::ChunkSize | Part::ChunkEnd if length > MAX_CHUNK_LINE_BYTES => {
                return Err(malformed("a chunk's first line is too long"));
            }
            Part::FirstLine | Part::Header | Part::Trailer if self.head.bytes > MAX_HEAD_BYTES => {
                return Err(ApiError::HeadersTooLarge);
            }
            _ => {}
        }
        self.line.extend_from_slice(&bytes[..here]);
        if end.is_some() {
            let line = std::mem::take(&mut self.line);
            let Some(text) = line.strip_suffix(b"\r\n") else {
                return Err(malformed("a line ends without a carriage return"));
            };
            if text.iter().any(|byte| matches!(byte, b'\r' | b'\0')) {
                return Err(malformed("there is a control character in a line"));
            }
            self.end_line(text)?;
        }
        Ok(&bytes[here..])
    }

    fn end_line(&mut self, line: &[u8]) -> Result<(), ApiError> {
        match self.part {
            // Before a request an empty line is nothing: old clients end a body with one that does not count.
            Part::FirstLine if line.is_empty() => {}
            Part::FirstLine => self.part = Part::Header,
            Part::Header if line.is_empty() => self.end_head()?,
            Part::Header => self.header(line)?,
            Part::ChunkSize => {
                let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
                self.head.bytes = 0;
                self.head.chunks += 1;
                if self.head.chunks > MAX_CHUNKS {
                    return Err(malformed("the body is in too many chunks"));
                }
                self.part = match number(size, 16).ok_or_else(|| malformed("a chunk's size is no number"))? {
                    0 => Part::Trailer,
                    size => Part::Chunk(size),
                };
            }
            Part::ChunkEnd if line.is_empty() => self.part = Part::ChunkSize,
            Part::ChunkEnd => return Err(malformed("a chunk is longer than it says")),
            Part::Trailer if line.is_empty() => self.end(),
            Part::Trailer => {
                name_and_value(line)?;
                self.count_header()?;
            }
            Part::Body(_) | Part::Chunk(_) => {}
        }
        Ok(())
    }

    fn header(&mut self, line: &[u8]) -> Result<(), ApiError> {
        self.count_header()?;
        let (name, value) = name_and_value(line)?;
        if name.eq_ignore_ascii_case(b"content-length") {
            // Half of the numbers are more than enough; hyper keeps the last ones for itself.
            let length = number(value, 10).filter(|length| *length <= u64::MAX / 2);
            let length = length.ok_or_else(|| malformed("the length is no number"))?;
            if self.head.length.replace(length).is_some() {
                return Err(malformed("the length is there twice"));
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if !value.eq_ignore_ascii_case(b"chunked") || self.head.is_chunked {
                return Err(malformed("the transfer coding is another than chunked, or there twice"));
            }
            self.head.is_chunked = true;
        } else if name.eq_ignore_ascii_case(b"host") && std::mem::replace(&mut self.head.has_host, true) {
            return Err(malformed("the host is there twice"));
        }
        Ok(())
    }

    fn count_header(&mut self) -> Result<(), ApiError> {
        self.head.headers += 1;
        if self.head.headers > MAX_HEADERS { Err(ApiError::HeadersTooLarge) } else { Ok(()) }
    }

    fn end_head(&mut self) -> Result<(), ApiError> {
        match (self.head.is_chunked, self.head.length) {
            (true, Some(_)) => return Err(malformed("there is a length beside a transfer coding")),
            (true, None) => self.part = Part::ChunkSize,
            (false, None | Some(0)) => self.end(),
            (false, Some(length)) => self.part = Part::Body(length),
        }
        self.head.headers = 0;
        Ok(())
    }

    fn end(&mut self) {
        self.complete += 1;
        self.part = Part::FirstLine;
        self.head = Head::default();
    }
}

fn malformed(detail: &'static str) -> ApiError {
    ApiError::BadRequest(detail.into())
}

/// A header's name and its value without the blanks around it. A folded line has no name.
fn name_and_value(line: &[u8]) -> Result<(&[u8], &[u8]), ApiError> {
    let is_of_names = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let colon = line.iter().position(|byte| *byte == b':').unwrap_or_default();
    let (name, value) = line.split_at(colon);
    if name.is_empty() || !name.iter().all(is_of_names) {
        return Err(malformed("a header has no name, or an odd one"));
    }
    let value = &value[1..];
    let start = value.iter().position(|byte| !matches!(byte, b' ' | b'\t')).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !matches!(byte, b' ' | b'\t')).map_or(start, |last| last + 1);
    Ok((name, &value[start..end]))
}

/// Digits alone: no sign, no blank, no prefix.
fn number(digits: &[u8], radix: u32) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok().filter(|text| text.chars().all(|c| c.is_digit(radix)))?;
    u64::from_str_radix(text, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Taken whole, and byte by byte: the same.
    fn read(text: &str) -> Result<(u64, bool), u16> {
        let status = |error: ApiError| error.status_code();
        let mut whole = Framing::default();
        let taken = whole.take(text.as_bytes()).map_err(status);
        let mut bytewise = Framing::default();
        let by_byte = text.bytes().try_for_each(|byte| bytewise.take(&[byte])).map_err(status);
        assert_eq!(taken, by_byte, "{text:?}");
        taken.map(|()| {
            assert_eq!(
                (whole.complete(), whole.is_between()),
                (bytewise.complete(), bytewise.is_between()),
                "{text:?}"
            );
            (whole.complete(), whole.is_between())
        })
    }

    #[test]
    fn requests_end_where_they_say() {
        for (text, complete, is_between) in [
            ("", 0, true),
            ("GET / HTTP/1.1\r\n", 0, false),
            ("\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", 1, true),
            ("GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\nG", 2, false),
            ("POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\n\n\n\r", 0, false),
            ("POST / HTTP/1.1\r\nContent-Length:\t4 \r\n\r\n\n\n\r\n", 1, true),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n4;a=b\r\n\r\n\r\n\r\n0\r\n", 0, false),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\n0\r\nX: y\r\n\r\nG", 1, false),
        ] {
            assert_eq!(read(text), Ok((complete, is_between)), "{text:?}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        let with = |header: &str| format!("POST / HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n");
        for header in [
            "Content-Length: 4\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 4",
            "Content-Length: 4\r\nContent-Length: 4",
            "Content-Length: 4, 4",
            "Content-Length: +4",
            "Content-Length: 0x4",
            "Content-Length:",
            "Content-Length: 99999999999999999999",
            "Content-Length: 18446744073709551615",
            "Content-Length : 4",
            "Transfer-Encoding: chunked, chunked",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: identity",
            "Transfer-Encoding: \u{b}chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
            " folded: line",
            "X: y\r\n folded",
            "X: y\nContent-Length: 4",
            "X: y\rContent-Length: 4",
            "no colon",
            ": no name",
            "Host: y",
        ] {
            assert_eq!(read(&with(header)), Err(400), "{header:?}");
        }
        for chunks in ["4\nabcd\r\n", "-4\r\n", "4 \r\n", "0x4\r\n", "\r\n", "4\r\nabcde\r\n", "4\r\nabcd\n", "0\r\n\n"]
        {
            let text = with("Transfer-Encoding: chunked") + chunks;
            assert_eq!(read(&text), Err(400), "{chunks:?}");
        }
    }

    #[test]
    fn heads_have_bounds() {
        assert_eq!(read(&format!("GET /{} HTTP/1.1\r\n", "a".repeat(MAX_LINE_BYTES))), Err(414));
        assert_eq!(read(&format!("GET / HTTP/1.1\r\n{}", "A: b\r\n".repeat(MAX_HEADERS + 1))), Err(431));
        assert_eq!(read(&format!("GET / HTTP/1.1\r\nA: {}", "b".repeat(MAX_HEAD_BYTES))), Err(431));
        assert_eq!(read(&format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(MAX_HEADERS))), Ok((1, true)));
    }
}
