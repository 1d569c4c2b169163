//! What the admin listener sees of this process, and its socket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tollgate_control::{
    Answer, Check, ConfigStatus, DrainError, Failure, Fault, Health, Issuer, Plane, Target,
};
use tollgate_filters::conf::Problem;
use tollgate_proxy::auth::KeyStatus;
use tollgate_proxy::config::Admin;
use tollgate_proxy::reload::{Mistake, Refused, Reloader, Status};
use tollgate_proxy::runtime::{Live, Runtime};
use tollgate_proxy::tls::Certificates;
use tollgate_proxy::upstream;

/// How long a successor tries to get the admin address, which its predecessor holds until it has drained.
const TAKE_OVER: Duration = Duration::from_secs(600);

pub(crate) struct ControlPlane {
    runtime: Arc<ArcSwap<Runtime>>,
    live: Arc<Live>,
    reloader: Arc<Reloader>,
}

impl ControlPlane {
    pub(crate) fn new(
        runtime: Arc<ArcSwap<Runtime>>,
        live: Arc<Live>,
        reloader: Arc<Reloader>,
    ) -> ControlPlane {
        ControlPlane { runtime, live, reloader }
    }
}

/// Opens the admin listener and serves it on `runtime`.
pub(crate) async fn listen(
    plane: Arc<ControlPlane>,
    address: SocketAddr,
    certificates: Option<&Certificates>,
    take_over: bool,
    runtime: &tokio::runtime::Handle,
) -> Result<(), String> {
    let tls = certificates.map(Certificates::server_config).transpose();
    let tls = tls.map_err(|error| format!("admin.tls: {error}"))?;
    if take_over {
        runtime.spawn(async move {
            match bind_when_free(address).await {
                Ok(listener) => tollgate_control::serve(listener, tls, plane, std::future::pending()).await,
                Err(error) => tracing::error!(%address, %error, "the admin listener could not be taken over"),
            }
        });
        return Ok(());
    }
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .map_err(|error| format!("admin: cannot listen on {address}: {error}"))?;
    runtime.spawn(tollgate_control::serve(listener, tls, plane, std::future::pending()));
    Ok(())
}

async fn bind_when_free(address: SocketAddr) -> std::io::Result<tokio::net::TcpListener> {
    let deadline = tokio::time::Instant::now() + TAKE_OVER;
    loop {
        match tokio::net::TcpListener::bind(address).await {
            Err(error)
                if error.kind() != std::io::ErrorKind::AddrInUse
                    || tokio::time::Instant::now() > deadline =>
            {
                return Err(error);
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            Ok(listener) => return Ok(listener),
        }
    }
}

impl Plane for ControlPlane {
    fn settings(&self) -> Arc<Admin> {
        Arc::new(self.runtime.load().config().admin.clone())
    }

    fn health(&self) -> Health {
        let readiness = self.live.readiness(&self.runtime.load());
        let check =
            |(name, state): &(&str, &str)| Check { name: (*name).to_owned(), state: (*state).to_owned() };
        Health {
            started: self.live.lifecycle.is_started(),
            ready: readiness.ready,
            checks: readiness.checks.iter().map(check).collect(),
        }
    }

    fn metrics(&self) -> String {
        self.live.metrics_page(&self.runtime.load())
    }

    fn config(&self) -> ConfigStatus {
        status(self.reloader.status(), &self.runtime.load())
    }

    fn reload(&self) -> Answer<'_, Result<ConfigStatus, Failure>> {
        let reloader = Arc::clone(&self.reloader);
        Box::pin(async move {
            let outcome = tokio::task::spawn_blocking(move || reloader.reload()).await;
            match outcome {
                Ok(Ok(_generation)) => Ok(self.config()),
                Ok(Err(refused)) => Err(failure(SystemTime::now(), refused)),
                Err(_panic) => {
                    let message = "the reload panicked; the configuration in force stays".to_owned();
                    Err(failure(SystemTime::now(), Refused { message, mistakes: Vec::new() }))
                }
            }
        })
    }

    fn upstreams(&self) -> Vec<Target> {
        let target = |status: upstream::TargetStatus| Target {
            name: status.id,
            provider: status.provider.to_string(),
            address: status.url,
            health: status.health.to_owned(),
            breaker: status.breaker.to_owned(),
            drained: status.drained || status.drained_by_config,
            in_flight: status.in_flight as u64,
        };
        self.live.upstreams.list().into_iter().map(target).collect()
    }

    fn issuers(&self) -> Vec<Issuer> {
        let issuer = |status: KeyStatus| Issuer {
            issuer: status.issuer,
            keys: status.keys,
            age_seconds: status.age.map(|age| age.as_secs()),
            usable: status.usable,
            error: status.error,
        };
        self.live.issuer_keys(&self.runtime.load()).into_iter().map(issuer).collect()
    }

    fn drain<'a>(&'a self, target: &'a str, drained: bool) -> Answer<'a, Result<(), DrainError>> {
        let upstreams = self.live.upstreams.clone();
        let target = target.to_owned();
        Box::pin(async move {
            let by_config =
                upstreams.list().iter().any(|status| status.id == target && status.drained_by_config);
            if by_config && !drained {
                return Err(DrainError::ByConfig);
            }
            let outcome = tokio::task::spawn_blocking(move || match drained {
                true => upstreams.drain(&target),
                false => upstreams.undrain(&target),
            });
            match outcome.await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(upstream::DrainError::Unknown { .. })) => Err(DrainError::Unknown),
                Ok(Err(error)) => Err(DrainError::NotKept(error.to_string())),
                Err(panic) => Err(DrainError::NotKept(panic.to_string())),
            }
        })
    }
}

fn status(status: Status, runtime: &Runtime) -> ConfigStatus {
    let warnings = runtime.config().warnings.iter();
    ConfigStatus {
        generation: status.generation,
        hash: status.hash,
        loaded_at: status.loaded_at,
        last_error: status.last_error.map(|(at, refused)| failure(at, refused)),
        warnings: warnings.map(|problem| fault(None, problem)).collect(),
    }
}

fn failure(at: SystemTime, refused: Refused) -> Failure {
    let fault = |mistake: &Mistake| fault(mistake.line, &mistake.problem);
    Failure { at, message: refused.message, problems: refused.mistakes.iter().map(fault).collect() }
}

fn fault(line: Option<u64>, problem: &Problem) -> Fault {
    Fault { path: problem.path.to_string(), message: problem.message.clone(), line }
}
