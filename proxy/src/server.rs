//! The Pingora server: listeners in, signals watched, sockets handed to a successor.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::apps::HttpServerOptions;
use pingora_core::listeners::tls::TlsSettings;
use pingora_core::listeners::{ListenerConfig, TcpSocketOptions};
use pingora_core::protocols::TcpKeepalive;
use pingora_core::server::configuration::{Opt, ServerConf};
use pingora_core::server::{RunArgs, Server, ShutdownSignal, ShutdownSignalWatch};
use pingora_proxy::ProxyServiceBuilder;

use crate::config::{Config, Listener};
use crate::http::Gateway;
use crate::runtime::BuildError;
use crate::tls::{self, Certificates};

/// How long Pingora goes on accepting after it has handed its sockets over.
pub const HAND_OVER: Duration = Duration::from_secs(5);

/// Pingora's own end of a shutdown. The process ends by itself as soon as nothing is in flight, so this is never reached.
const GRACE: u64 = 24 * 3600;

/// Idle HTTP/2 connections of clients are closed after this.
const H2_IDLE: Duration = Duration::from_secs(300);

/// What a signal asked for, once it is time to act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Close the listeners, then drain.
    Terminate,
    /// Hand the sockets to the successor that waits for them, then drain.
    HandOver,
}

/// Resolves when the process shall stop.
pub type Stopping = Pin<Box<dyn Future<Output = Stop> + Send>>;

/// What the server runs with.
pub struct Settings {
    pub threads: usize,
    pub max_attempts: usize,
    /// Socket for handing over; its folder must be private (Pingora makes the socket world-writable).
    pub upgrade_socket: PathBuf,
    /// Take the sockets of a running predecessor instead of binding.
    pub take_over: bool,
}

/// Certificates of all TLS listeners, the admin's too, by address; the first broken file is the error.
pub fn certificates(config: &Config) -> Result<HashMap<SocketAddr, Certificates>, BuildError> {
    let listeners = config.listeners.iter().map(|listener| (listener.address, &listener.tls));
    let all = listeners.chain([(config.admin.address, &config.admin.tls)]);
    let with_tls = all.filter_map(|(address, tls)| Some((address, tls.as_ref()?)));
    with_tls.map(|(address, files)| Ok((address, Certificates::new(tls::load(files)?)))).collect()
}

/// Binds once to find out whether the addresses are free. Pingora itself would retry for 30 s and then go on without.
pub fn check_addresses(config: &Config) -> Result<(), BuildError> {
    let listeners = config.listeners.iter().map(|listener| ("listeners", listener.address));
    for (key, address) in listeners.chain([("admin", config.admin.address)]) {
        std::net::TcpListener::bind(address)
            .map_err(|error| BuildError::Invalid(format!("{key}: cannot listen on {address}: {error}")))?;
    }
    Ok(())
}

/// Whether a successor listens on the hand-over socket. Read from the kernel's list: connecting would use its one accept up.
pub fn successor_waits(socket: &Path) -> bool {
    let Ok(sockets) = std::fs::read_to_string("/proc/net/unix") else { return false };
    let Some(path) = socket.to_str() else { return false };
    sockets.lines().any(|line| listens_at(line, path))
}

/// A line of `/proc/net/unix` (proc(5)): the whole path is its last column, and no other has a slash; an abstract name, which
/// anybody may take, begins with an `@`. Flag 00010000 is `__SO_ACCEPTCON`: it listens.
fn listens_at(line: &str, path: &str) -> bool {
    let at_path = |start: usize| &line[start..] == path && line[..start].ends_with(' ');
    line.contains(" 00010000 ") && line.find('/').is_some_and(at_path)
}

/// Runs until the process is told to stop and everything has been drained. Does not return while requests are in flight.
/// `ready` is called once the sockets are ours: at once, or when the predecessor has handed them over.
pub fn run(
    gateway: &Gateway,
    settings: &Settings,
    certificates: &HashMap<SocketAddr, Certificates>,
    stopping: Stopping,
    ready: impl FnOnce(),
) {
    let listeners = gateway.runtime.load().config().listeners.clone();
    let conf = ServerConf {
        threads: settings.threads,
        max_retries: settings.max_attempts,
        grace_period_seconds: Some(GRACE),
        graceful_shutdown_timeout_seconds: Some(1),
        upgrade_sock: settings.upgrade_socket.to_string_lossy().into_owned(),
        upgrade_sock_connect_accept_max_retries: Some(120),
        upstream_keepalive_pool_size: 1024,
        ..ServerConf::default()
    };
    let opt = Opt { upgrade: settings.take_over, ..Opt::default() };
    let mut server = Server::new_with_opt_and_conf(Some(opt), conf);
    server.bootstrap(); // waits for the predecessor's sockets when taking over
    // Cleartext HTTP/2 is a property of a Pingora service, so there is one for the listeners with it and one for the others.
    for h2c in [false, true] {
        let group: Vec<_> = listeners.iter().filter(|listener| listener.h2c == h2c).collect();
        if group.is_empty() {
            continue;
        }
        let mut options = HttpServerOptions::default();
        options.h2c = h2c;
        options.h2_idle_timeout = Some(H2_IDLE);
        let name = if h2c { "data-h2c" } else { "data" };
        let builder = ProxyServiceBuilder::new(&server.configuration, gateway.clone())
            .name(name)
            .server_options(options);
        let mut service = builder.build();
        for listener in group {
            service.add_listener(endpoint(listener, certificates.get(&listener.address)));
        }
        server.add_service(service);
    }
    ready();
    server.run(RunArgs { shutdown_signal: Box::new(Signals(tokio::sync::Mutex::new(stopping))) });
}

fn endpoint(listener: &Listener, certificates: Option<&Certificates>) -> ListenerConfig {
    let mut socket = TcpSocketOptions::default();
    // A client that vanished without FIN is noticed after about two minutes, also when nothing is written to it.
    socket.tcp_keepalive = Some(TcpKeepalive {
        idle: Duration::from_secs(60),
        interval: Duration::from_secs(15),
        count: 4,
        #[cfg(target_os = "linux")]
        user_timeout: Duration::ZERO,
    });
    let mut config = ListenerConfig::tcp(listener.address.to_string()).tcp_socket_options(socket);
    if let Some(certificates) = certificates {
        let mut tls = TlsSettings::with_callbacks(Box::new(NoCallbacks)).expect("infallible in this version");
        tls.set_cert_resolver(certificates.resolver());
        if let Some(verifier) = certificates.verifier() {
            tls.set_client_cert_verifier(verifier);
        }
        if listener.h2 {
            tls.enable_h2();
        }
        config = config.tls(tls);
    }
    config
}

struct NoCallbacks;

#[async_trait]
impl pingora_core::listeners::TlsAccept for NoCallbacks {}

/// Hands our own decision to Pingora: it waits for what `stopping` resolves to, never for a signal.
struct Signals(tokio::sync::Mutex<Stopping>);

#[async_trait]
impl ShutdownSignalWatch for Signals {
    async fn recv(&self) -> ShutdownSignal {
        let mut stopping = self.0.lock().await;
        match stopping.as_mut().await {
            Stop::Terminate => ShutdownSignal::GracefulTerminate,
            Stop::HandOver => ShutdownSignal::GracefulUpgrade,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successor_is_known_by_its_whole_path() {
        let line = |flags: &str, path: &str| {
            format!("00000000620a369a: 00000002 00000000 {flags} 0001 01 108838 {path}")
        };
        let ours = "/srv/tg/run/upgrade.sock";
        assert!(listens_at(&line("00010000", ours), ours));
        assert!(!listens_at(&line("00000000", ours), ours), "it does not listen");
        for other in [
            "/mnt/srv/tg/run/upgrade.sock",
            "@/srv/tg/run/upgrade.sock",
            "@/srv/tg/run/upgrade.sock.old",
            "/srv/tg/run/upgrade.sock.old",
            "",
        ] {
            assert!(!listens_at(&line("00010000", other), ours), "{other}");
        }
        let with_space = "/srv/a b/run/upgrade.sock";
        assert!(listens_at(&line("00010000", with_space), with_space));
    }
}
