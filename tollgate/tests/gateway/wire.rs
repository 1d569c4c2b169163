//! HTTP/1.1 by hand: whatever bytes a test wants to send, and the answers as they come.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use serde_json::Value;
use tollgate_fake_upstream::{Entry, Fake};

use crate::harness::{KEY, PATIENCE};

/// A client connection.
pub(crate) struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// One answer, informational ones (1xx) included.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Wire {
    pub(crate) fn open(address: SocketAddr) -> Wire {
        let stream = TcpStream::connect(address).expect("accepted");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        stream.set_nodelay(true).expect("a socket option");
        Wire { stream, buffer: Vec::new() }
    }

    /// Sends `bytes`; a peer that has closed already is no failure: its answer tells.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> &mut Wire {
        let _ = self.stream.write_all(bytes);
        self
    }

    /// Nothing more will be sent.
    pub(crate) fn half_close(&mut self) -> &mut Wire {
        let _ = self.stream.shutdown(Shutdown::Write);
        self
    }

    /// Bytes of the answer that have come and were not read, as many as `buffer` takes.
    pub(crate) fn peek(&self, buffer: &mut [u8]) -> usize {
        self.stream.peek(buffer).expect("something comes")
    }

    /// The next answer; `None` where the peer closes without one.
    pub(crate) fn reply(&mut self) -> Option<Reply> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.fill() {
                return None;
            }
        };
        let head: Vec<u8> = self.buffer.drain(..end).collect();
        let head = String::from_utf8(head).expect("a head of ASCII");
        let mut lines = head.split("\r\n").filter(|line| !line.is_empty());
        let status = lines.next()?.split(' ').nth(1)?.parse().expect("a status");
        let header = |line: &str| {
            let (name, value) = line.split_once(':').expect("a header line");
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        let mut reply = Reply { status, headers: lines.map(header).collect(), body: Vec::new() };
        if status >= 200 && status != 204 && status != 304 {
            reply.body = self.body(&reply);
        }
        Some(reply)
    }

    fn body(&mut self, reply: &Reply) -> Vec<u8> {
        let length = reply.header("content-length").and_then(|length| length.parse::<usize>().ok());
        let chunked = reply.header("transfer-encoding").is_some();
        loop {
            if let Some(length) = length.filter(|length| self.buffer.len() >= *length) {
                return self.buffer.drain(..length).collect();
            }
            if chunked && self.buffer.ends_with(b"0\r\n\r\n") {
                return std::mem::take(&mut self.buffer); // raw: callers look for parts of it
            }
            if !self.fill() {
                return std::mem::take(&mut self.buffer);
            }
        }
    }

    /// Whether the peer has closed; reads what still comes.
    pub(crate) fn is_closed(&mut self) -> bool {
        while self.fill() {}
        true
    }

    fn fill(&mut self) -> bool {
        let mut piece = [0u8; 16 * 1024];
        match self.stream.read(&mut piece) {
            Ok(0) => false,
            Ok(count) => {
                self.buffer.extend_from_slice(&piece[..count]);
                true
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("no answer in time; so far: {}", String::from_utf8_lossy(&self.buffer))
            }
            Err(_) => false, // reset
        }
    }
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// `error.code`, if the body has one.
    pub(crate) fn code(&self) -> Option<String> {
        self.json()["error"]["code"].as_str().map(str::to_owned)
    }
}

/// A POST with the test's key and this body.
pub(crate) fn post(path: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut request = head(path, &format!("content-length: {}\r\n", body.len()));
    request.extend_from_slice(body);
    request
}

/// The head of a POST with the test's key and further header lines, each ended by `\r\n`.
pub(crate) fn head(path: &str, lines: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nhost: gateway.test\r\nauthorization: Bearer {KEY}\r\n\
         content-type: application/json\r\n{lines}\r\n"
    )
    .into_bytes()
}

/// `body` in chunks of `size` bytes, the last one included.
pub(crate) fn chunks(body: &[u8], size: usize) -> Vec<u8> {
    let mut coded = Vec::with_capacity(body.len() + body.len() / size * 8 + 8);
    for piece in body.chunks(size) {
        coded.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        coded.extend_from_slice(piece);
        coded.extend_from_slice(b"\r\n");
    }
    coded.extend_from_slice(b"0\r\n\r\n");
    coded
}

/// The last call that the upstream got: health probes and model lists, which come at any time, are GETs.
pub(crate) fn last_call(fake: &Fake) -> Entry {
    fake.ledger().entries().into_iter().rfind(|entry| entry.method == "POST").expect("passed on")
}
