//! The server: start, kill, restart on the same port.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::{TlsAcceptor, rustls};

use crate::book::{Book, Gate};
use crate::ledger::Ledger;
use crate::script::Script;
use crate::service::{self, Shared};
use crate::wire::{Connection, Wire};

/// How the fake runs, and what it says without a script: it echoes the caller's last words; calls the first tool it is offered
/// (once: a tool's result it echoes); greets where the prompt says `hello`; answers a prompt with `contact` in it with an e-mail
/// address and a card number cut over deltas. A model named `words:N` or `words:N:Tms` says N words, T milliseconds apart. Models
/// named `script:…` must have a script (else 404).
#[derive(Debug, Clone)]
pub struct Options {
    /// Default 127.0.0.1, any free port.
    pub listen: SocketAddr,
    /// What `/v1/models` lists.
    pub models: Vec<String>,
    /// Requests without this key (bearer, `x-api-key` or `api-key`) get 401. Default: none needed.
    pub key: Option<String>,
    /// Ledger entries kept; 0 keeps totals only, which is what benchmarks want.
    pub keep: usize,
    /// Runtime threads, apart from the caller's.
    pub threads: usize,
    /// TLS on every connection, with whatever certificates, client authorities and ALPN the test wants. Default: none.
    pub tls: Option<Arc<rustls::ServerConfig>>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            models: vec!["fake-model".to_owned()],
            key: None,
            keep: 20_000,
            threads: 1,
            tls: None,
        }
    }
}

/// A running fake upstream, on threads of its own: blocking tests and async ones can use it alike. Dropped, it stops.
pub struct Fake {
    addr: SocketAddr,
    shared: Arc<Shared>,
    connections: Arc<AtomicU64>,
    running: Option<Running>,
}

struct Running {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Fake {
    pub fn start(options: Options) -> io::Result<Fake> {
        let mut fake = Fake {
            addr: options.listen,
            shared: Arc::new(Shared { ledger: Ledger::new(options.keep), book: Book::default(), options }),
            connections: Arc::default(),
            running: None,
        };
        fake.restart()?;
        Ok(fake)
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://127.0.0.1:PORT`, or `https`, without a path.
    pub fn url(&self) -> String {
        let scheme = if self.shared.options.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.addr)
    }

    pub fn ledger(&self) -> &Ledger {
        &self.shared.ledger
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Every request with this key (see the crate's page) gets this answer.
    pub fn script(&self, key: &str, script: Script) {
        self.sequence(key, [script]);
    }

    /// The first request gets the first answer, and so on; the last one repeats. No scripts: the key is forgotten.
    pub fn sequence(&self, key: &str, scripts: impl IntoIterator<Item = Script>) {
        self.shared.book.write(key, scripts.into_iter().collect());
    }

    /// The gates of the scripts under this key.
    pub fn gate(&self, key: &str) -> Gate {
        self.shared.book.gate(key)
    }

    /// Stops at once, as a killed process does: connections close wherever they are, new ones are refused.
    pub fn kill(&mut self) {
        let Some(Running { stop, thread }) = self.running.take() else { return };
        self.shared.ledger.killed();
        // Gone already if the runtime could not go on; joining is all that is left then.
        let _ = stop.send(());
        let _ = thread.join();
    }

    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Starts again on the same port, with scripts, gates and ledger as they were. Nothing happens if it runs.
    pub fn restart(&mut self) -> io::Result<()> {
        if self.running.is_some() {
            return Ok(());
        }
        let threads = self.shared.options.threads;
        let runtime = match threads {
            0 | 1 => tokio::runtime::Builder::new_current_thread().enable_all().build()?,
            n => tokio::runtime::Builder::new_multi_thread().worker_threads(n).enable_all().build()?,
        };
        let listener = {
            let _inside = runtime.enter();
            bind(self.addr)?
        };
        self.addr = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let (shared, connections) = (Arc::clone(&self.shared), Arc::clone(&self.connections));
        let thread = std::thread::Builder::new().name("fake-upstream".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, shared, connections) => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        })?;
        self.running = Some(Running { stop, thread });
        Ok(())
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.kill();
    }
}

fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    // Else a restart would have to wait for the old connections' TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(4096)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, connections: Arc<AtomicU64>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let id = connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(id, stream, Arc::clone(&shared)));
            }
            // Out of file descriptors, or the client was gone already: others may still come.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
        }
    }
}

async fn serve(id: u64, stream: TcpStream, shared: Arc<Shared>) {
    let Ok(connection) = Connection::new(id, stream) else { return };
    let answering = Arc::clone(&connection);
    let tls = shared.options.tls.clone();
    let service =
        service_fn(move |request| service::answer(Arc::clone(&shared), Arc::clone(&answering), request));
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new());
    server.http2().timer(TokioTimer::new()).max_concurrent_streams(1000);
    let wire = Wire(Arc::clone(&connection));
    let serving = async {
        // Errors are the client's going away or a fault that was asked for; both stand in the ledger.
        match tls {
            None => drop(server.serve_connection(wire, service).await),
            Some(config) => {
                if let Ok(stream) = TlsAcceptor::from(config).accept(TokioIo::new(wire)).await {
                    drop(server.serve_connection(TokioIo::new(stream), service).await);
                }
            }
        }
    };
    tokio::select! {
        () = serving => {}
        () = connection.dropping() => {}
    }
}
