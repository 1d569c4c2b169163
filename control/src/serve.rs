//! The listener: connections bounded in number and time, so that nobody can keep the probes out.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tollgate_filters::verdict::{Code, Rejection};

use crate::gate::{self, Peer};
use crate::plane::Plane;
use crate::{admin, open};

/// Connections at once. Past it new ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 256;
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Longest wait for a request's head, also on an idle connection.
const HEAD: Duration = Duration::from_secs(30);
/// A connection ends after this long, whatever it does.
const CONNECTION: Duration = Duration::from_secs(300);
/// How long answers under way have when the listener stops.
const GRACE: Duration = Duration::from_secs(5);

/// Serves until `shutdown` is done, then lets answers under way finish for a few seconds.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    plane: Arc<dyn Plane>,
    shutdown: impl Future<Output = ()> + Send,
) {
    let service = Connections {
        router: router(plane),
        tls: tls.map(TlsAcceptor::from),
        stop: watch::Sender::new(false),
    };
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut open = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = open.join_next() => continue,
            accepted = accept(&listener, &room) => accepted,
        };
        match accepted {
            Ok((stream, remote, permit)) => {
                open.spawn(service.clone().connection(stream, remote, permit));
            }
            // Out of descriptors, or a connection that is gone again: neither is cured by trying at once.
            Err(error) => {
                tracing::warn!(%error, "admin listener: accept failed");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    service.stop.send_replace(true);
    let _ = timeout(GRACE, async { while open.join_next().await.is_some() {} }).await;
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = room.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, remote) = listener.accept().await?;
    Ok((stream, remote, permit))
}

fn router(plane: Arc<dyn Plane>) -> Router {
    Router::new()
        .route("/health", get(open::health))
        .route("/health/ready", get(open::ready))
        .route("/ready", get(open::ready))
        .route("/startup", get(open::startup))
        .route("/metrics", get(open::metrics))
        .route("/admin/config", get(admin::config))
        .route("/admin/reload", post(admin::reload))
        .route("/admin/upstreams", get(admin::upstreams))
        .route("/admin/issuers", get(admin::issuers))
        .route("/admin/upstreams/{target}/drain", post(admin::drain))
        .route("/admin/upstreams/{target}/undrain", post(admin::undrain))
        .fallback(async || gate::refuse(&gate::not_found()))
        .method_not_allowed_fallback(async || {
            gate::refuse(&Rejection::new(
                Code::MethodNotAllowed,
                "This path takes another method; reads are GET, writes POST.",
            ))
        })
        .layer(from_fn_with_state(plane.clone(), gate::gate))
        .with_state(plane)
}

#[derive(Clone)]
struct Connections {
    router: Router,
    tls: Option<TlsAcceptor>,
    stop: watch::Sender<bool>,
}

impl Connections {
    async fn connection(self, stream: TcpStream, remote: SocketAddr, _permit: OwnedSemaphorePermit) {
        let Ok(local) = stream.local_addr() else { return };
        let mut peer = Peer { remote, local, certificate: None };
        let Some(acceptor) = &self.tls else { return self.talk(stream, peer).await };
        match timeout(HANDSHAKE, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => {
                let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                peer.certificate = shown.map(|certificate| Sha256::digest(certificate).into());
                self.talk(stream, peer).await;
            }
            Ok(Err(error)) => tracing::debug!(%remote, %error, "admin listener: TLS handshake failed"),
            Err(_) => tracing::debug!(%remote, "admin listener: TLS handshake took too long"),
        }
    }

    async fn talk(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, peer: Peer) {
        let router = self.router.clone().layer(axum::Extension(peer));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
        let mut stop = self.stop.subscribe();
        tokio::pin!(connection);
        let talk = async {
            tokio::select! {
                _ = connection.as_mut() => return,
                _ = stop.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
            }
            let _ = connection.await;
        };
        // What a client does wrong on its own connection is its own business.
        let _ = timeout(CONNECTION, talk).await;
    }
}
