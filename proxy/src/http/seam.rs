//! The seam: a downstream session that stands between Pingora and the real client session, and decides what the client really
//! gets, and when. Why it exists, and what else was tried: `docs/adr/0001-body-replay-and-answer-seam.md`.
//!
//! Six duties: replay the request body on every attempt; hold the answer's header until the first real event; swallow the
//! headers of later attempts; keep the deadlines; end a stream early; write comments while the model is silent.
//!
//! Two paths write to the client, and they must never mix:
//! * `response_duplex_vec` and its like are awaited by Pingora to their end, so plain writes are safe there;
//! * `read_body_or_idle` is one branch of Pingora's `select!`: its future is dropped whenever the upstream has something to
//!   say. What it writes (comments, and the header before them) is therefore *state*: queued first, pushed on by `poll_flush`,
//!   and every other write finishes that queue before it adds a byte of its own.

mod control;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf, Bytes};
use futures::Stream;
use http::header::TRANSFER_ENCODING;
use http::{HeaderMap, Version};
use parking_lot::Mutex;
use pingora_core::protocols::http::custom::{CustomMessageWrite, server::Session as CustomSession};
use pingora_core::protocols::http::{HttpTask, ServerSession};
use pingora_core::protocols::{Digest, l4::socket::SocketAddr};
use pingora_error::{Error, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use tokio::time::{Instant, Sleep, sleep_until};

use control::Wake;
pub(crate) use control::{After, CUT_SHORT, Comments, Control, FIRST_EVENT, IDLE, SHUTDOWN, TOTAL};

/// Where the real session is put when the seam is dropped.
pub(crate) type Home = Arc<Mutex<Option<Box<ServerSession>>>>;
type Messages = Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>;

pub(crate) struct Seam {
    /// `None` only while the seam is being dropped.
    inner: Option<Box<ServerSession>>,
    home: Home,
    body: Bytes,
    control: Arc<Control>,
    held: Option<Box<ResponseHeader>>,
    /// H2 clients: what is left of a comment.
    queue: Bytes,
    /// The last byte sent ended an event, so a comment may follow.
    between_events: bool,
    /// The running attempt's header is a success.
    succeeding: bool,
    /// It ended in a way that is no end of an answer.
    cut_short: bool,
    timer: Pin<Box<Sleep>>,
}

impl Seam {
    /// Replaces `*downstream` by a seam. The returned [`Home`] is what [`Seam::unwrap_session`] needs.
    pub(crate) fn wrap(downstream: &mut Box<ServerSession>, body: Bytes, control: Arc<Control>) -> Home {
        let home = Home::default();
        let inner = std::mem::replace(downstream, Box::new(ServerSession::new_custom(Box::new(()))));
        let seam = Seam {
            inner: Some(inner),
            home: Arc::clone(&home),
            body,
            control,
            held: None,
            queue: Bytes::new(),
            between_events: true,
            succeeding: false,
            cut_short: false,
            timer: Box::pin(sleep_until(Instant::now())),
        };
        **downstream = ServerSession::new_custom(Box::new(seam));
        home
    }

    /// Puts the real session back: a custom session is never kept alive by Pingora.
    pub(crate) fn unwrap_session(downstream: &mut Box<ServerSession>, home: &Home) {
        // Dropping the seam brings the session home.
        **downstream = ServerSession::new_custom(Box::new(()));
        if let Some(real) = home.lock().take() {
            *downstream = real;
        }
    }

    fn inner(&self) -> &ServerSession {
        self.inner.as_ref().expect("taken only by Drop")
    }

    fn inner_mut(&mut self) -> &mut ServerSession {
        self.inner.as_mut().expect("taken only by Drop")
    }

    /// Pushes what the comments have queued. Can be dropped and called again at any time: H1 keeps its progress in Pingora's own
    /// cancel-safe task queue; H2 has none, so it goes byte by byte, and a single byte either has been handed to h2 or has not
    /// (a longer write could be dropped after the window took a part of it).
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let Seam { inner, queue, .. } = self;
        match inner.as_deref_mut().expect("taken only by Drop") {
            ServerSession::H1(session) if session.has_pending_proxy_tasks() => {
                pin!(session.write_proxy_tasks()).poll(cx).map_ok(|_| ())
            }
            session => {
                while queue.has_remaining() {
                    ready!(pin!(session.write_response_body(queue.slice(..1), false)).poll(cx))?;
                    queue.advance(1);
                }
                Poll::Ready(Ok(()))
            }
        }
    }

    async fn flush(&mut self) -> Result<()> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Queues one comment, and the header before it if none has been sent. Nothing is written here.
    fn queue_comment(&mut self) -> Result<()> {
        let control = Arc::clone(&self.control);
        let mut state = control.state();
        let header_sent = state.sent.is_some();
        let Some((comments, at)) = &mut state.comments else { return Ok(()) };
        *at = Instant::now() + comments.every;
        if self.held.as_deref().is_some_and(|header| !is_event_stream(header)) {
            return Ok(()); // asked for a stream, got a plain answer
        }
        let (text, own) = (comments.text.clone(), &comments.header);
        let header = (!header_sent).then(|| self.held.take().unwrap_or_else(|| Box::new(own.clone())));
        if let Some(header) = &header {
            state.sent = Some(header.status);
        }
        match self.inner.as_deref_mut().expect("taken only by Drop") {
            ServerSession::H1(session) => {
                if session.has_pending_proxy_tasks() {
                    return Ok(()); // a client that does not read needs no second comment
                }
                if let Some(header) = header {
                    session.send_proxy_task(HttpTask::Header(header, false));
                }
                session.send_proxy_task(HttpTask::Body(Some(text), false));
            }
            ServerSession::H2(session) => {
                if let Some(header) = header {
                    session.write_response_header(header, false)?; // does not block
                }
                if self.queue.is_empty() {
                    self.queue = text;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Waits for the client to leave, for a deadline, or for the time to write a comment. Resolves only with an error.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        loop {
            if !self.control.client_gone() {
                if let Poll::Ready(Err(error)) = self.poll_flush(cx)
                    && !self.drained()
                {
                    return Poll::Ready(Err(error));
                }
                let left = pin!(self.inner_mut().read_body_or_idle(true)).poll(cx);
                match left {
                    Poll::Ready(Ok(more)) => return Poll::Ready(Ok(more)),
                    Poll::Ready(Err(error)) if !self.drained() => return Poll::Ready(Err(error)),
                    _ => {}
                }
            }
            let (at, wake) = self.control.next_wake(self.between_events);
            if Instant::now() < at {
                // One timer for the whole request; a deadline that moved on is noticed when the timer rings too early.
                if self.timer.is_elapsed() || self.timer.deadline() > at {
                    self.timer.as_mut().reset(at);
                }
                ready!(self.timer.as_mut().poll(cx));
                continue;
            }
            match wake {
                Wake::Deadline(deadline) => {
                    return Poll::Ready(Error::e_explain(deadline, "while waiting for the upstream"));
                }
                Wake::Comment => self.queue_comment()?,
                Wake::Look => {}
            }
        }
    }

    /// The client has left. Whether the upstream is heard to its end all the same; from here on nothing is written.
    fn drained(&mut self) -> bool {
        let mut state = self.control.state();
        state.client_gone = true;
        state.drain
    }

    /// The held header leaves, or a header that is the whole answer.
    fn release(&mut self, whole: Option<Box<ResponseHeader>>, out: &mut Vec<HttpTask>) {
        let end = whole.is_some();
        let Some(mut header) = whole.or(self.held.take()) else { return };
        let mut state = self.control.state();
        if let Some(change) = state.late.take() {
            change(&mut header);
        }
        if !state.client_gone {
            state.sent = Some(header.status);
        }
        drop(state);
        if self.inner().req_header().version == Version::HTTP_10 {
            header.remove_header(&TRANSFER_ENCODING); // RFC 9112 section 6.1: the connection's end is the answer's
        }
        out.push(HttpTask::Header(header, end));
    }

    /// Sorts one batch into what leaves. Returns whether the answer ends with it.
    fn sort(&mut self, tasks: Vec<HttpTask>, failing: bool, out: &mut Vec<HttpTask>) -> bool {
        let mut end = false;
        for task in tasks {
            match task {
                HttpTask::Failed(_) => out.push(task), // the real session writes what precedes it, then returns the error
                HttpTask::Header(header, _) if header.status.is_informational() => {}
                HttpTask::Header(header, true) if header.status.is_success() => {
                    self.cut_short = true; // an answer without a body is none
                    return end;
                }
                HttpTask::Header(header, eos) => {
                    self.succeeding = header.status.is_success();
                    end |= eos;
                    if self.control.header_sent() {
                        continue; // swallowed: an earlier attempt's header, or a comment's, has left
                    }
                    if eos {
                        self.release(Some(header), out);
                    } else {
                        self.held = Some(header);
                    }
                }
                HttpTask::Body(data, eos) => {
                    let (data, eos) = (data.unwrap_or_default(), eos && !failing);
                    end |= eos;
                    if data.is_empty() && !eos {
                        continue;
                    }
                    if !data.is_empty() {
                        self.between_events = data.ends_with(b"\n\n");
                        self.control.on_content();
                        self.body = Bytes::new(); // never replayed again
                    }
                    self.release(None, out);
                    out.push(HttpTask::Body(Some(data), eos));
                }
                _ if failing => {}
                _ if self.succeeding && !end => {
                    // Trailers, or an end that the body filter did not see: the pipeline has not let its last part go.
                    self.cut_short = true;
                    return end;
                }
                task => {
                    end = true;
                    self.release(None, out);
                    out.push(task);
                }
            }
        }
        end
    }

    async fn write(&mut self, out: Vec<HttpTask>) -> Result<bool> {
        if self.control.client_gone() {
            return out.into_iter().find_map(failure).map_or(Ok(false), Err);
        }
        let control = Arc::clone(&self.control);
        let written = control
            .bounded(async {
                self.flush().await?;
                self.inner_mut().response_duplex_vec(out).await
            })
            .await;
        match written {
            Err(error) if is_client_fault(&error) && self.drained() => Ok(false),
            other => other,
        }
    }
}

fn failure(task: HttpTask) -> Option<Box<Error>> {
    if let HttpTask::Failed(error) = task { Some(error) } else { None }
}

/// Whether a write failed because of the client: not because the batch itself carried the upstream's failure.
fn is_client_fault(error: &Error) -> bool {
    !matches!(error.esource(), pingora_error::ErrorSource::Upstream)
}

fn is_event_stream(header: &ResponseHeader) -> bool {
    header.headers.get("content-type").is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"))
}

impl Drop for Seam {
    fn drop(&mut self) {
        *self.home.lock() = self.inner.take();
    }
}

#[async_trait]
impl CustomSession for Seam {
    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        let after = self.control.state().after.take();
        // Then the end of this attempt is not the end of the answer.
        let failing = matches!(after, Some(After::Fail(_)));
        let mut out = Vec::with_capacity(tasks.len() + 1);
        let mut end = self.sort(tasks, failing, &mut out);
        let done = !out.is_empty() && self.write(out).await?;
        if std::mem::take(&mut self.cut_short) && after.is_none() {
            return Err(Error::explain(CUT_SHORT, "a success without the end of its body").into_up());
        }
        match after {
            Some(After::Fail(error)) => return Err(error),
            Some(After::End) => end = true,
            None => {}
        }
        if end && !done {
            self.finish().await?;
        }
        Ok(end || done)
    }

    async fn read_body_or_idle(&mut self, _no_body: bool) -> Result<Option<Bytes>> {
        poll_fn(|cx| self.poll_idle(cx)).await
    }

    // An attempt begins (Pingora calls this before each): the header that an earlier one left is void.
    fn enable_retry_buffering(&mut self) {
        self.held = None;
    }

    // The body was read before: "no more to read", and the whole of it in the retry buffer, of any size.
    fn get_retry_buffer(&self) -> Option<Bytes> {
        (!self.body.is_empty()).then(|| self.body.clone())
    }
    fn retry_buffer_truncated(&self) -> bool {
        false
    }
    fn is_body_done(&mut self) -> bool {
        true
    }
    fn is_body_empty(&mut self) -> bool {
        self.body.is_empty()
    }
    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        Ok(None)
    }
    async fn drain_request_body(&mut self) -> Result<()> {
        Ok(())
    }

    // Answers of our own (fail_to_proxy).
    async fn write_response_header(&mut self, header: Box<ResponseHeader>, end: bool) -> Result<()> {
        if !header.status.is_informational() {
            self.held = None;
            self.control.state().sent = Some(header.status);
            // Pingora closes after an error of its own, but cannot say so through a custom session.
            self.inner_mut().set_keepalive(None);
        }
        let control = Arc::clone(&self.control);
        control
            .bounded(async {
                self.flush().await?;
                match self.inner_mut() {
                    ServerSession::H2(session) => session.write_response_header(header, end),
                    session => session.write_response_header(header).await,
                }
            })
            .await
    }
    async fn write_response_header_ref(&mut self, header: &ResponseHeader, end: bool) -> Result<()> {
        self.write_response_header(Box::new(header.clone()), end).await
    }
    async fn write_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        let control = Arc::clone(&self.control);
        control
            .bounded(async {
                self.flush().await?;
                self.inner_mut().write_response_body(data, end).await
            })
            .await
    }
    async fn finish(&mut self) -> Result<()> {
        if self.control.client_gone() {
            return Ok(());
        }
        let control = Arc::clone(&self.control);
        control
            .bounded(async {
                self.flush().await?;
                self.inner_mut().finish_body().await
            })
            .await
    }
    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        let control = Arc::clone(&self.control);
        control
            .bounded(async {
                self.flush().await?;
                self.inner_mut().write_response_trailers(trailers).await
            })
            .await
    }
    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }
    async fn shutdown(&mut self, _code: u32, _context: &str) {
        self.inner_mut().shutdown().await;
    }

    // What follows only passes on.
    fn req_header(&self) -> &RequestHeader {
        self.inner().req_header()
    }
    fn req_header_mut(&mut self) -> &mut RequestHeader {
        self.inner_mut().req_header_mut()
    }
    fn response_written(&self) -> Option<&ResponseHeader> {
        self.inner().response_written()
    }
    fn request_summary(&self) -> String {
        self.inner().request_summary()
    }
    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        self.inner().to_h1_raw()
    }
    fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.inner_mut().set_read_timeout(timeout);
    }
    fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.inner_mut().set_write_timeout(timeout);
    }
    fn set_total_drain_timeout(&mut self, timeout: Option<Duration>) {
        self.inner_mut().set_total_drain_timeout(timeout);
    }
    fn get_read_timeout(&self) -> Option<Duration> {
        self.inner().get_read_timeout()
    }
    fn get_write_timeout(&self) -> Option<Duration> {
        self.inner().get_write_timeout()
    }
    fn get_total_drain_timeout(&self) -> Option<Duration> {
        self.inner().get_total_drain_timeout()
    }
    fn body_bytes_sent(&self) -> usize {
        self.inner().body_bytes_sent()
    }
    fn body_bytes_read(&self) -> usize {
        self.inner().body_bytes_read()
    }
    fn digest(&self) -> Option<&Digest> {
        self.inner().digest()
    }
    fn digest_mut(&mut self) -> Option<&mut Digest> {
        self.inner_mut().digest_mut()
    }
    fn client_addr(&self) -> Option<&SocketAddr> {
        self.inner().client_addr()
    }
    fn server_addr(&self) -> Option<&SocketAddr> {
        self.inner().server_addr()
    }
    fn take_custom_message_reader(&mut self) -> Option<Messages> {
        None
    }
    fn restore_custom_message_reader(&mut self, _reader: Messages) -> Result<()> {
        Ok(())
    }
    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }
    fn restore_custom_message_writer(&mut self, _writer: Box<dyn CustomMessageWrite>) -> Result<()> {
        Ok(())
    }
}
