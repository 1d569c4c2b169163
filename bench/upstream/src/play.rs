//! Plays a script: step by step into the bytes of one answer.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::body::Frame;
use tokio::time::Instant;

use crate::book::Gate;
use crate::ledger::{Outcome, Record};
use crate::script::{Content, Fault, Script, Step, Tokens};
use crate::surface::{Said, Surface};
use crate::wire::Connection;

pub(crate) struct Player {
    script: Arc<Script>,
    at: usize,
    surface: Box<dyn Surface>,
    streaming: bool,
    input_tokens: u64,
    gate: Gate,
    gates: u64,
    choice: u32,
    called_tool: bool,
    opened: bool,
    finish: Finish,
    began: Instant,
    paced: u32,
    /// Written by steps, not yet handed to the connection.
    out: Vec<u8>,
    ready: Bytes,
    /// Set when no step is left to play.
    over: Option<Fault>,
    sent: usize,
    record: Record,
    connection: Arc<Connection>,
}

/// How much of the ending was played.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Finish {
    Open,
    Finished,
    Done,
}

/// What [`Player::advance`] came to.
enum Turn {
    Wrote,
    Header,
    Over,
}

/// How the answer's header must look.
pub(crate) enum Start {
    /// A stream, or a plain answer whose header was sent first.
    Flowing,
    /// The whole body is known.
    Whole(Bytes),
}

impl Player {
    pub(crate) fn new(
        script: Arc<Script>,
        surface: Box<dyn Surface>,
        streaming: bool,
        input_tokens: u64,
        gate: Gate,
        record: Record,
        connection: Arc<Connection>,
    ) -> Player {
        Player {
            script,
            at: 0,
            surface,
            streaming,
            input_tokens,
            gate,
            gates: 0,
            choice: 0,
            called_tool: false,
            opened: false,
            finish: Finish::Open,
            began: Instant::now(),
            paced: 0,
            out: Vec::new(),
            ready: Bytes::new(),
            over: None,
            sent: 0,
            record,
            connection,
        }
    }

    pub(crate) fn script(&self) -> &Script {
        &self.script
    }

    /// Plays until the header must leave. `Err`: the connection (or the h2 stream) breaks without one.
    pub(crate) async fn start(&mut self) -> io::Result<Start> {
        loop {
            match self.advance().await {
                Turn::Header => return Ok(Start::Flowing),
                Turn::Wrote if self.streaming => return Ok(Start::Flowing),
                Turn::Wrote => {}
                Turn::Over => break,
            }
        }
        match self.over {
            Some(Fault::End) | None if self.streaming => Ok(Start::Flowing),
            Some(Fault::End) | None => Ok(Start::Whole(self.whole())),
            Some(fault) => Err(self.fail(fault).await),
        }
    }

    /// The next piece of the body.
    pub(crate) async fn next(&mut self) -> Option<io::Result<Frame<Bytes>>> {
        loop {
            if let Some(cut) = self.script.cut.filter(|cut| self.sent >= cut.after) {
                self.ready = Bytes::new();
                return self.end(cut.fault, Outcome::Faulted).await;
            }
            if !self.ready.is_empty() {
                return Some(Ok(Frame::data(self.take_piece())));
            }
            if !self.out.is_empty() && (self.streaming || self.over.is_some()) {
                self.ready = BytesMut::from(self.out.as_slice()).freeze();
                self.out.clear();
                continue;
            }
            match self.over {
                Some(fault) => {
                    let asked = fault != Fault::End || self.finish != Finish::Done;
                    return self.end(fault, if asked { Outcome::Faulted } else { Outcome::Served }).await;
                }
                None => {
                    if matches!(self.advance().await, Turn::Over) && !self.streaming {
                        self.out = self.whole().to_vec();
                    }
                }
            }
        }
    }

    /// Serves `body` instead of what the steps would say.
    pub(crate) fn replace(&mut self, body: Bytes) {
        (self.ready, self.over, self.finish) = (body, Some(Fault::End), Finish::Done);
        self.out.clear();
    }

    fn take_piece(&mut self) -> Bytes {
        let mut most = self.ready.len();
        if let Some(size) = self.script.recut {
            most = most.min(size.max(1));
        }
        if let Some(cut) = self.script.cut {
            most = most.min(cut.after - self.sent);
        }
        let piece = self.ready.split_to(most);
        self.sent += piece.len();
        self.record.said.bytes = self.sent as u64;
        self.record.progress();
        piece
    }

    async fn end(&mut self, fault: Fault, outcome: Outcome) -> Option<io::Result<Frame<Bytes>>> {
        if fault == Fault::End {
            self.record.end(outcome);
            return None;
        }
        Some(Err(self.fail(fault).await))
    }

    async fn fail(&mut self, fault: Fault) -> io::Error {
        // hyper flushes what it was given only when the body has nothing more at once.
        tokio::task::yield_now().await;
        if fault == Fault::Hang {
            // Only the client, or the upstream's death, ends this: the record's drop says which.
            std::future::pending::<()>().await;
        }
        self.record.end(Outcome::Faulted);
        if fault == Fault::Reset {
            self.connection.drop_now(true);
            std::future::pending::<()>().await;
        }
        io::Error::other("the script breaks off here")
    }

    /// Plays until something was written, the header is asked for, or nothing is left.
    async fn advance(&mut self) -> Turn {
        let script = Arc::clone(&self.script);
        let steps = match &script.content {
            Content::Steps(steps) => steps.as_slice(),
            _ => &[],
        };
        while self.over.is_none() {
            let Some(step) = steps.get(self.at) else {
                self.close();
                self.over = Some(Fault::End);
                break;
            };
            self.at += 1;
            match step {
                Step::Header => return Turn::Header,
                Step::Gate => {
                    self.record.progress();
                    self.gate.pass(self.gates).await;
                    self.gates += 1;
                }
                Step::WaitMs(ms) => tokio::time::sleep(Duration::from_millis(*ms)).await,
                Step::Choice(choice) => self.choice = *choice,
                Step::Fault(fault) => self.over = Some(*fault),
                said => {
                    self.pace().await;
                    self.write(said);
                }
            }
            if !self.out.is_empty() {
                return Turn::Wrote;
            }
        }
        Turn::Over
    }

    fn write(&mut self, step: &Step) {
        let said = match step {
            Step::Text(piece) => Said::Text(piece),
            Step::Reasoning(piece) => Said::Reasoning(piece),
            Step::Refusal(piece) => Said::Refusal(piece),
            Step::Tool(tool) => {
                self.called_tool = true;
                Said::Tool(tool)
            }
            Step::Finish(reason) => return self.write_finish(reason),
            Step::Done => return self.write_done(),
            Step::Error(message) => {
                self.surface.error(message, &mut self.out);
                self.over = Some(Fault::End);
                return;
            }
            Step::Comment(text) => return self.out.extend_from_slice(format!(": {text}\n\n").as_bytes()),
            Step::Event(data) => return self.out.extend_from_slice(format!("data: {data}\n\n").as_bytes()),
            Step::Bytes(bytes) => return self.out.extend_from_slice(bytes),
            _ => return,
        };
        self.open();
        self.record.said.pieces += 1;
        self.say(said);
    }

    fn say(&mut self, said: Said<'_>) {
        if self.streaming {
            self.surface.say(self.choice, said, &mut self.out);
        } else {
            self.surface.say(self.choice, said, &mut Vec::new());
        }
    }

    fn open(&mut self) {
        if self.streaming && !std::mem::replace(&mut self.opened, true) {
            self.surface.open(&mut self.out);
        }
    }

    async fn pace(&mut self) {
        let Some(every) = self.script.pace_ms else { return };
        if self.paced == 0 {
            self.began = Instant::now();
        } else {
            tokio::time::sleep_until(self.began + Duration::from_millis(every) * self.paced).await;
        }
        self.paced += 1;
    }

    /// The ending that the steps did not write themselves.
    fn close(&mut self) {
        if self.finish == Finish::Open {
            let reason = self.reason();
            self.write_finish(&reason);
            self.write_done();
        }
    }

    fn reason(&self) -> String {
        let usual = if self.called_tool { "tool_calls" } else { "stop" };
        self.script.finish.clone().unwrap_or_else(|| usual.to_owned())
    }

    fn write_finish(&mut self, reason: &str) {
        self.finish = Finish::Finished;
        if self.streaming {
            self.open();
            self.surface.finish(reason, &mut self.out);
        } else {
            self.surface.finish(reason, &mut Vec::new());
        }
    }

    fn write_done(&mut self) {
        self.finish = Finish::Done;
        if self.streaming {
            let tokens = self.tokens();
            if self.surface.done(tokens, &mut self.out) {
                self.record.report(tokens.unwrap_or_default());
            }
        }
    }

    fn tokens(&self) -> Option<Tokens> {
        let counted =
            Tokens { input: self.input_tokens, output: self.record.said.pieces, ..Tokens::default() };
        (!self.script.no_usage).then(|| self.script.tokens.unwrap_or(counted))
    }

    /// A plain answer's body: bytes that steps wrote, else what was said.
    fn whole(&mut self) -> Bytes {
        if !self.out.is_empty() {
            return std::mem::take(&mut self.out).into();
        }
        let tokens = self.tokens();
        if let Some(tokens) = tokens {
            self.record.report(tokens);
        }
        self.surface.whole(&self.reason(), tokens).to_string().into()
    }

    pub(crate) fn record(&mut self) -> &mut Record {
        &mut self.record
    }
}
