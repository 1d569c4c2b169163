//! An issuer on the loopback interface: serves what it is told, waits when told, counts what it was asked.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

#[derive(Clone)]
pub(super) struct FakeIssuer {
    pub(super) url: String,
    state: Arc<Mutex<State>>,
    /// One permit per answer; plenty unless a test closes the gate.
    gate: Arc<Semaphore>,
}

#[derive(Default)]
struct State {
    documents: HashMap<String, (u16, Vec<u8>)>,
    asked: HashMap<String, usize>,
}

impl FakeIssuer {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let gate = Arc::new(Semaphore::new(1_000));
        let issuer = FakeIssuer { url, state: Arc::default(), gate };
        let server = issuer.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(server.clone().answer(stream));
            }
        });
        issuer
    }

    pub(super) fn serve(&self, path: &str, status: u16, body: impl Into<Vec<u8>>) {
        self.state.lock().documents.insert(path.into(), (status, body.into()));
    }

    pub(super) fn asked(&self, path: &str) -> usize {
        self.state.lock().asked.get(path).copied().unwrap_or_default()
    }

    pub(super) fn close_gate(&self) {
        self.gate.forget_permits(1_000);
    }

    pub(super) fn open_gate(&self) {
        self.gate.add_permits(1_000);
    }

    async fn answer(self, mut stream: TcpStream) {
        let mut head = Vec::new();
        let mut chunk = [0; 1024];
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            match stream.read(&mut chunk).await {
                Ok(read) if read > 0 => head.extend_from_slice(&chunk[..read]),
                _ => return,
            }
        }
        let head = String::from_utf8_lossy(&head);
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        *self.state.lock().asked.entry(path.clone()).or_default() += 1;
        let Ok(permit) = self.gate.acquire().await else { return };
        drop(permit);
        let (status, body) = self.state.lock().documents.get(&path).cloned().unwrap_or((404, Vec::new()));
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nlocation: /elsewhere\r\nconnection: close\r\n\r\n",
            body.len()
        );
        let _ = stream.write_all(&[head.as_bytes(), &body].concat()).await;
        let _ = stream.shutdown().await;
    }
}
