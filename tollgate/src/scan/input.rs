//! Where texts come from.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;

use super::{Failure, PIECE};
use crate::cli;

/// A file or standard input, open.
pub(super) struct Input {
    pub(super) name: String,
    pub(super) reader: Box<dyn BufRead>,
    /// Bytes, where they are known.
    pub(super) size: Option<u64>,
}

impl Input {
    /// All of them, opened before the first is read: a wrong name says so at once.
    pub(super) fn all(paths: &[PathBuf]) -> Result<Vec<Input>, Failure> {
        if paths.is_empty() {
            return Ok(vec![Input::standard()]);
        }
        let open = |path: &PathBuf| {
            let name = path.display().to_string();
            if name == "-" {
                return Ok(Input::standard());
            }
            let failure =
                |why: &str| Failure { code: cli::NO_INPUT, message: format!("cannot open {name}: {why}") };
            let file = File::open(path).map_err(|error| failure(&error.to_string()))?;
            let data = file.metadata().ok();
            if data.as_ref().is_some_and(std::fs::Metadata::is_dir) {
                return Err(failure("is a folder; name the files in it"));
            }
            let size = data.filter(std::fs::Metadata::is_file).map(|data| data.len());
            let reader = Box::new(BufReader::with_capacity(PIECE, file));
            Ok(Input { name, reader, size })
        };
        paths.iter().map(open).collect()
    }

    fn standard() -> Input {
        let reader = Box::new(BufReader::with_capacity(PIECE, io::stdin()));
        Input { name: "-".to_owned(), reader, size: None }
    }
}

/// Reads text in pieces of at most so many bytes, cut between characters. A byte that is not UTF-8 becomes one `?`, so that
/// offsets stay those of the file.
pub(super) struct Pieces {
    reader: Box<dyn BufRead>,
    piece: usize,
    /// The beginning of a character.
    cut: Vec<u8>,
    text: String,
}

impl Pieces {
    pub(super) fn of(input: Input, piece: usize) -> Pieces {
        Pieces { reader: input.reader, piece, cut: Vec::new(), text: String::new() }
    }

    /// The next piece, and how many bytes were read for it; `None` at the end. A piece can be empty: it held part of a
    /// character.
    pub(super) fn next(&mut self) -> io::Result<Option<(&str, usize)>> {
        let mut bytes = std::mem::take(&mut self.cut);
        let read = (&mut self.reader).take(self.piece as u64).read_to_end(&mut bytes)?;
        self.text.clear();
        if read == 0 {
            // What was cut stays cut.
            self.text.extend(bytes.iter().map(|_| '?'));
            return Ok((!self.text.is_empty()).then_some((&self.text, 0)));
        }
        let mut rest = &bytes[..];
        loop {
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    self.text.push_str(valid);
                    break;
                }
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    self.text.push_str(std::str::from_utf8(valid).unwrap_or_default());
                    let Some(bad) = error.error_len() else {
                        self.cut = after.to_vec();
                        break;
                    };
                    self.text.extend((0..bad).map(|_| '?'));
                    rest = &after[bad..];
                }
            }
        }
        Ok(Some((&self.text, read)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_join_to_the_text_whatever_their_size() {
        let bytes = b"h\xc3\xa9llo \xf0\x9f\x98\x80 \xff\xc3( end \xf0\x9f".to_vec();
        for piece in 1..=bytes.len() {
            let reader = Box::new(io::Cursor::new(bytes.clone()));
            let mut pieces = Pieces::of(Input { name: String::new(), reader, size: None }, piece);
            let mut joined = String::new();
            while let Some((text, _)) = pieces.next().expect("no error") {
                joined.push_str(text);
            }
            assert_eq!(joined, "h\u{e9}llo \u{1f600} ??( end ??", "pieces of {piece}");
            assert_eq!(joined.len(), bytes.len(), "offsets are those of the file");
        }
    }
}
