//! The form of one spool row: `(length, u32 little endian; record)*`, compressed.

use std::io;

/// Keeps its buffers and zstd's context: a commit allocates little.
pub(super) struct Encoder {
    compressor: Option<zstd::bulk::Compressor<'static>>,
    raw: Vec<u8>,
}

impl Encoder {
    pub(super) fn new() -> Encoder {
        Encoder { compressor: None, raw: Vec::new() }
    }

    /// The compressed row and the length of what it holds.
    pub(super) fn encode<'a>(
        &mut self,
        records: impl Iterator<Item = &'a [u8]>,
    ) -> io::Result<(Vec<u8>, usize)> {
        self.raw.clear();
        for record in records {
            let length = u32::try_from(record.len()).map_err(io::Error::other)?;
            self.raw.extend_from_slice(&length.to_le_bytes());
            self.raw.extend_from_slice(record);
        }
        let compressor = match &mut self.compressor {
            Some(compressor) => compressor,
            none => none.insert(zstd::bulk::Compressor::new(LEVEL)?),
        };
        let data = compressor.compress(&self.raw)?;
        let raw_bytes = self.raw.len();
        if self.raw.capacity() > KEPT_BYTES {
            self.raw = Vec::new();
        }
        Ok((data, raw_bytes))
    }
}

/// The records of a row, or what is wrong with it.
pub(super) fn decode(data: &[u8], raw_bytes: usize, events: usize) -> Result<(Vec<u8>, Vec<usize>), String> {
    if raw_bytes > MAX_RAW_BYTES {
        return Err(format!("claims to hold {raw_bytes} bytes"));
    }
    let raw = zstd::bulk::decompress(data, raw_bytes).map_err(|error| error.to_string())?;
    if raw.len() != raw_bytes {
        return Err(format!("holds {} bytes instead of {raw_bytes}", raw.len()));
    }
    let mut starts = Vec::new();
    let mut at = 0;
    while at < raw.len() {
        let length = raw.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
        let end = length.map(|length| at + 4 + length as usize).filter(|&end| end <= raw.len());
        starts.push(at + 4);
        at = end.ok_or("a record runs past the end")?;
    }
    if starts.len() != events {
        return Err(format!("holds {} records instead of {events}", starts.len()));
    }
    Ok((raw, starts))
}

/// Measured over audit events of 2 KB (`cargo test --release -p tollgate-store cost -- --ignored`): see docs/audit-event.md.
const LEVEL: i32 = 1;

/// A buffer grown past this by a burst is given back.
const KEPT_BYTES: usize = 16 << 20;

/// Larger than any row that is written (8 MiB and one record).
const MAX_RAW_BYTES: usize = 256 << 20;
