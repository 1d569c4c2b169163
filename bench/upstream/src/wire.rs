//! The TCP connection under hyper, with a handle that can reset it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// One accepted connection.
pub(crate) struct Connection {
    pub(crate) id: u64,
    stream: TcpStream,
    dropping: AtomicBool,
    drop_now: Notify,
}

impl Connection {
    pub(crate) fn new(id: u64, stream: TcpStream) -> io::Result<Arc<Connection>> {
        stream.set_nodelay(true)?;
        Ok(Arc::new(Connection { id, stream, dropping: AtomicBool::new(false), drop_now: Notify::new() }))
    }

    /// Ends the connection without a word: FIN, or RST with `reset`.
    pub(crate) fn drop_now(&self, reset: bool) {
        if reset {
            // Linger of zero turns the close into an RST. On failure the close is still abrupt enough.
            let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        }
        self.dropping.store(true, Ordering::Relaxed);
        self.drop_now.notify_one();
    }

    pub(crate) async fn dropping(&self) {
        self.drop_now.notified().await;
    }
}

/// hyper's view of a [`Connection`].
pub(crate) struct Wire(pub(crate) Arc<Connection>);

impl Read for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // hyper's buffer may be uninitialised, which takes unsafe code to read into; a copy of a few KiB does not.
        let mut chunk = [0; 16 * 1024];
        let room = chunk.len().min(buf.remaining());
        loop {
            ready!(self.0.stream.poll_read_ready(cx))?;
            match self.0.stream.try_read(&mut chunk[..room]) {
                Ok(n) => {
                    buf.put_slice(&chunk[..n]);
                    return Poll::Ready(Ok(()));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }
}

impl Write for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, |stream| stream.try_write(buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, |stream| stream.try_write_vectored(bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.0.dropping.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(SockRef::from(&self.0.stream).shutdown(std::net::Shutdown::Write))
    }
}

impl Wire {
    fn poll_write_with(
        &self,
        cx: &mut Context<'_>,
        mut write: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.stream.poll_write_ready(cx))?;
            match write(&self.0.stream) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }
}
