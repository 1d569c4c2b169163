//! One JSON object per event: `timestamp`, `level`, the event's fields, `target`.
//!
//! Written straight into a buffer of the thread: every request ends in a line, and the general JSON formatter, which serialises
//! field by field through `fmt`, took a quarter of a small request's instructions.

use std::cell::RefCell;
use std::fmt::{Debug, Write as _};
use std::io::Write as _;
use std::time::SystemTime;

use tollgate_filters::audit::Timestamp;
use tollgate_filters::json;
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// A line's usual length, with room.
const USUAL: usize = 1024;

/// Makes lines of events, and hands each on whole.
pub(super) struct JsonLines(pub(super) fn(&[u8]));

#[derive(Default)]
struct Buffers {
    line: Vec<u8>,
    /// Of values that can only be printed, before they are escaped.
    text: String,
    stamp: Stamp,
    names: Names,
}

/// The second of the last line, written out: the next line is mostly of the same one.
#[derive(Default)]
struct Stamp {
    second: Option<i64>,
    text: Vec<u8>,
}

/// The fields' names as they stand in a line, `,"name":`, for the event that was logged last: under load that is the same one
/// again and again.
#[derive(Default)]
struct Names {
    of: Option<Identifier>,
    written: Vec<u8>,
    /// Where each ends in `written`; they begin at 0.
    ends: Vec<usize>,
}

thread_local! {
    static BUFFERS: RefCell<Buffers> =
        RefCell::new(Buffers { line: Vec::with_capacity(USUAL), ..Buffers::default() });
}

impl<S: Subscriber> Layer<S> for JsonLines {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        BUFFERS.with(|buffers| {
            // A value that logs while it is printed: its line is made apart.
            match buffers.try_borrow_mut() {
                Ok(mut buffers) => self.0(write(event, &mut buffers)),
                Err(_) => self.0(write(event, &mut Buffers::default())),
            }
        });
    }
}

fn write<'b>(event: &Event<'_>, buffers: &'b mut Buffers) -> &'b [u8] {
    buffers.line.clear();
    let metadata = event.metadata();
    buffers.names.are_of(metadata);
    buffers.line.extend_from_slice(b"{\"timestamp\":\"");
    buffers.stamp.write(Timestamp::from(SystemTime::now()), &mut buffers.line);
    buffers.line.extend_from_slice(b"\",\"level\":\"");
    buffers.line.extend_from_slice(level(metadata.level()).as_bytes());
    buffers.line.push(b'"');
    event.record(&mut Fields(buffers));
    buffers.line.extend_from_slice(b",\"target\":");
    json::encode(metadata.target(), &mut buffers.line);
    buffers.line.extend_from_slice(b"}\n");
    &buffers.line
}

const fn level(level: &Level) -> &'static str {
    match *level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARN",
        Level::INFO => "INFO",
        Level::DEBUG => "DEBUG",
        Level::TRACE => "TRACE",
    }
}

impl Stamp {
    /// RFC 3339 in UTC, to the microsecond.
    fn write(&mut self, now: Timestamp, line: &mut Vec<u8>) {
        const MICROS: i64 = 1_000_000;
        let (second, micros) = (now.micros().div_euclid(MICROS), now.micros().rem_euclid(MICROS));
        if self.second != Some(second) {
            self.second = Some(second);
            self.text.clear();
            // Writing into memory does not fail.
            let _ = write!(self.text, "{}", Timestamp::from_micros(second * MICROS));
            // Without what follows the second, `.000000Z`.
            let end = self.text.iter().position(|byte| *byte == b'.').unwrap_or(self.text.len());
            self.text.truncate(end);
        }
        line.extend_from_slice(&self.text);
        // Six digits: what is left over from a seventh, the 1, makes place for the point.
        line.extend_from_slice(itoa::Buffer::new().format(micros + MICROS).as_bytes());
        let point = line.len() - 7;
        line[point] = b'.';
        line.push(b'Z');
    }
}

impl Names {
    fn are_of(&mut self, metadata: &Metadata<'_>) {
        let event = metadata.callsite();
        if self.of.as_ref() == Some(&event) {
            return;
        }
        self.of = Some(event);
        self.written.clear();
        self.ends.clear();
        for field in metadata.fields() {
            self.written.push(b',');
            match field.name() {
                // A name of the line's own would stand twice, and readers keep only one of the two.
                own @ ("timestamp" | "level" | "target") => {
                    self.written.push(b'"');
                    self.written.extend_from_slice(own.as_bytes());
                    self.written.extend_from_slice(b"_\"");
                }
                name => json::encode(name, &mut self.written),
            }
            self.written.push(b':');
            self.ends.push(self.written.len());
        }
    }

    fn get(&self, field: &Field) -> &[u8] {
        let at = field.index();
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.written[start..self.ends[at]]
    }
}

struct Fields<'b>(&'b mut Buffers);

impl Fields<'_> {
    /// The line, with the field's name written: its value is next.
    fn name(&mut self, field: &Field) -> &mut Vec<u8> {
        let Buffers { line, names, .. } = &mut *self.0;
        line.extend_from_slice(names.get(field));
        line
    }

    fn integer(&mut self, field: &Field, value: impl itoa::Integer) {
        self.name(field).extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        json::encode(value, self.name(field));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.integer(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.integer(field, value);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.integer(field, value);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.integer(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.name(field).extend_from_slice(if value { b"true" } else { b"false" });
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            let _ = write!(self.name(field), "{value}");
        } else {
            self.name(field).extend_from_slice(b"null"); // JSON has no other word for it
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.text.clear();
        let _ = write!(self.0.text, "{value:?}");
        let Buffers { line, text, names, .. } = &mut *self.0;
        line.extend_from_slice(names.get(field));
        json::encode(text, line);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    thread_local! {
        static LOGGED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }

    /// What `say` logs, as it would be read.
    fn logged(say: impl FnOnce()) -> Value {
        let keep = |line: &[u8]| LOGGED.with_borrow_mut(|logged| logged.extend_from_slice(line));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(JsonLines(keep)), say);
        let text = String::from_utf8(LOGGED.take()).expect("UTF-8");
        let (line, rest) = text.split_once('\n').expect("a line");
        assert_eq!(rest, "");
        let mut value: Value = serde_json::from_str(line).expect("JSON");
        let stamp = value.as_object_mut().and_then(|object| object.remove("timestamp")).expect("a time");
        stamp.as_str().expect("text").parse::<Timestamp>().expect("RFC 3339");
        value
    }

    #[test]
    fn times_are_those_of_the_clock() {
        let mut stamp = Stamp::default();
        for micros in [0, 1, 999_999, 1_000_000, 1_000_001, 1_795_550_194_070_605, -1, 1_795_550_194_000_000]
        {
            let (mut line, time) = (b"x".to_vec(), Timestamp::from_micros(micros));
            stamp.write(time, &mut line);
            assert_eq!(String::from_utf8(line).expect("UTF-8"), format!("x{time}"));
        }
    }

    #[test]
    fn every_kind_of_value_is_json() {
        let quote = "a \"quoted\"\nline \\ \u{1}";
        logged(|| tracing::info!(another = 1, "an event with other names"));
        let value = logged(|| {
            tracing::warn!(
                target: "tollgate::test",
                text = quote, none = None::<&str>, some = Some("x"), whole = 7u64, less = -7i64, part = 0.0000125f64,
                not_finite = f64::NAN, yes = true, level = "low", target = "a host", printed = ?quote, shown = %quote, wide = u128::MAX,
                "said {}", "so"
            );
        });
        let mut want = json!({
            "level": "WARN", "message": "said so", "text": quote, "level_": "low", "target_": "a host", "some": "x", "whole": 7, "less": -7,
            "part": 0.0000125, "not_finite": null, "yes": true, "printed": format!("{quote:?}"), "shown": quote,
            "target": "tollgate::test",
        });
        want["wide"] = serde_json::from_str(&u128::MAX.to_string()).expect("a number");
        assert_eq!(value, want);
    }
}
