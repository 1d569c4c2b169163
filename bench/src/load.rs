//! The load client: a bounded number of requests over a bounded number of connections to this machine, and to no other.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use crate::Failure;
use crate::prompt;
use crate::reading::Reading;
use crate::report;
use crate::usage::{Cpu, resident};

const MOST_REQUESTS: u64 = 10_000_000;
const MOST_CONNECTIONS: usize = 4_000;
const LONGEST: Duration = Duration::from_secs(300);
/// Requests per second.
const LOWEST_RATE: f64 = 0.1;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Such as http://127.0.0.1:8080/v1/chat/completions; loopback addresses only
    #[arg(long)]
    url: String,
    #[arg(long, default_value_t = 300)]
    body_size: usize,
    #[arg(long, default_value_t = 64)]
    concurrency: usize,
    /// Ends after so many requests, or after --seconds, whichever is first
    #[arg(long, default_value_t = MOST_REQUESTS)]
    requests: u64,
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Requests per second in all; default: as many as are answered
    #[arg(long)]
    rate: Option<f64>,
    #[arg(long)]
    stream: bool,
    /// The fake upstream answers `words:N:Tms` with N words, T milliseconds apart
    #[arg(long, default_value = "words:20")]
    model: String,
    #[arg(long)]
    key: Option<String>,
    /// Process whose CPU and memory are reported
    #[arg(long)]
    pid: Option<u32>,
}

/// One load, ready to be run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) target: Target,
    pub(crate) body: Bytes,
    pub(crate) stream: bool,
    pub(crate) concurrency: usize,
    pub(crate) requests: u64,
    pub(crate) time: Duration,
    /// Of a connection, from one request to the next, or until the answer if that takes longer.
    pub(crate) period: Duration,
    /// Set, no further request is sent.
    pub(crate) stop: Rc<Cell<bool>>,
}

/// Where requests go: an address of this machine.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    address: SocketAddr,
    path: String,
    key: Option<String>,
}

impl Target {
    pub(crate) fn new(address: SocketAddr, path: &str, key: Option<String>) -> Result<Target, Failure> {
        if !address.ip().is_loopback() {
            return Err(format!("{address} is not a loopback address: load goes to this machine only").into());
        }
        Ok(Target { address, path: path.to_owned(), key })
    }

    fn of_url(url: &str, key: Option<String>) -> Result<Target, Failure> {
        let uri: Uri = url.parse()?;
        let address = format!("{}:{}", uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(80));
        let address =
            address.parse().map_err(|_| format!("{url}: write the address in numbers, such as 127.0.0.1"))?;
        Target::new(address, uri.path(), key)
    }

    pub(crate) fn request(&self, body: &Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::post(self.path.as_str())
            .header("host", self.address.to_string())
            .header("content-type", "application/json");
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        request.body(Full::new(body.clone())).expect("path and key were taken from a URI and an argument")
    }

    /// The text of a page.
    pub(crate) async fn get(&self) -> Result<String, Failure> {
        let request = Request::get(self.path.as_str()).header("host", self.address.to_string());
        let request = request.body(Full::default()).expect("the path was taken from a URI");
        let body = self.connect().await?.send_request(request).await?.into_body().collect().await?;
        Ok(String::from_utf8(body.to_bytes().into())?)
    }

    pub(crate) async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Failure> {
        let socket = TcpStream::connect(self.address).await?;
        socket.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
        tokio::task::spawn_local(async move {
            // Its end is seen by the sender, which fails.
            let _ = connection.await;
        });
        Ok(sender)
    }
}

/// What a load came to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    /// The first failure, in words.
    pub(crate) failure: Option<String>,
    pub(crate) words: u64,
    pub(crate) took: Duration,
    /// When requests were sent, and the microseconds until their whole answer, in the order of their ends.
    pub(crate) answers: Vec<(Instant, u32)>,
    /// These microseconds, sorted.
    pub(crate) latency: Vec<u32>,
    /// Microseconds until the first text of a stream, sorted.
    pub(crate) first_token: Vec<u32>,
}

impl Outcome {
    /// A request sent then is answered now.
    fn note(&mut self, sent: Instant, reading: &Reading) {
        self.requests += 1;
        self.words += reading.words;
        self.answers.push((sent, micros(sent.elapsed())));
        self.first_token.extend(reading.first.map(|first| micros(first - sent)));
    }
}

impl Plan {
    /// Plain calls, one after the other on each connection.
    pub(crate) fn new(target: Target, body: impl Into<Bytes>, concurrency: usize, time: Duration) -> Plan {
        Plan {
            target,
            body: body.into(),
            stream: false,
            concurrency,
            requests: MOST_REQUESTS,
            time,
            period: Duration::ZERO,
            stop: Rc::default(),
        }
    }

    /// The same at so many requests per second in all, if they are answered that quickly.
    pub(crate) fn at_rate(self, rate: f64) -> Plan {
        Plan { period: Duration::from_secs_f64(self.concurrency as f64 / rate), ..self }
    }

    pub(crate) async fn run(&self) -> Outcome {
        let began = Instant::now();
        let left = Rc::new(Cell::new(self.requests));
        let outcome = Rc::new(RefCell::new(Outcome::default()));
        let local = LocalSet::new();
        for nth in 0..self.concurrency as u32 {
            // Spread over the first period.
            let start = began + self.period * nth / self.concurrency as u32;
            let (plan, left, outcome) = (self.clone(), Rc::clone(&left), Rc::clone(&outcome));
            local.spawn_local(async move {
                if let Err(failure) = plan.one_connection(start, began + plan.time, &left, &outcome).await {
                    let mut outcome = outcome.borrow_mut();
                    outcome.failed += 1;
                    outcome.failure.get_or_insert(failure.to_string());
                }
            });
        }
        local.await;
        let mut outcome = outcome.take();
        outcome.took = began.elapsed();
        outcome.latency = outcome.answers.iter().map(|(_, micros)| *micros).collect();
        outcome.latency.sort_unstable();
        outcome.first_token.sort_unstable();
        outcome
    }

    async fn one_connection(
        &self,
        start: Instant,
        until: Instant,
        left: &Cell<u64>,
        outcome: &RefCell<Outcome>,
    ) -> Result<(), Failure> {
        let mut sender = self.target.connect().await?;
        let mut due = start;
        loop {
            if !self.period.is_zero() {
                tokio::time::sleep_until(due.into()).await;
            }
            if left.get() == 0 || self.stop.get() || Instant::now() >= until {
                return Ok(());
            }
            left.set(left.get() - 1);
            sender.ready().await?;
            let sent = Instant::now();
            let answer = sender.send_request(self.target.request(&self.body)).await?;
            let status = answer.status();
            let mut body = answer.into_body();
            let mut reading = Reading::default();
            let mut refusal = Vec::new();
            while let Some(frame) = body.frame().await {
                let Ok(data) = frame?.into_data() else { continue };
                if self.stream {
                    reading.push(&data);
                }
                if !status.is_success() {
                    refusal.extend_from_slice(&data);
                }
            }
            if !status.is_success() || (self.stream && (reading.failed || !reading.done)) {
                return Err(format!("{status} {}", String::from_utf8_lossy(&refusal)).into());
            }
            outcome.borrow_mut().note(sent, &reading);
            due = sent + self.period;
        }
    }
}

/// Streams that are open and have said their first word; dropped, they close.
pub(crate) struct Open {
    _bodies: Vec<hyper::body::Incoming>,
    _senders: Vec<SendRequest<Full<Bytes>>>,
}

/// Opens so many streams of a [`LocalSet`]'s thread, one after another in batches, each read up to its first text.
pub(crate) async fn open_streams(target: &Target, body: &Bytes, count: usize) -> Result<Open, Failure> {
    let mut open = Open { _bodies: Vec::new(), _senders: Vec::new() };
    for _ in 0..count.min(MOST_CONNECTIONS) {
        let mut sender = target.connect().await?;
        let answer = sender.send_request(target.request(body)).await?;
        let status = answer.status();
        let mut stream = answer.into_body();
        let mut reading = Reading::default();
        while reading.first.is_none() {
            let frame = stream.frame().await.ok_or_else(|| format!("{status}: a stream ended at once"))??;
            reading.push(frame.data_ref().map_or(&[][..], |data| data));
        }
        open._bodies.push(stream);
        open._senders.push(sender);
    }
    Ok(open)
}

/// The value below which a share of the sorted values lies.
pub(crate) fn quantile(sorted: &[u32], share: f64) -> Option<u32> {
    let last = sorted.len().checked_sub(1)?;
    Some(sorted[((last as f64) * share).round() as usize])
}

pub(crate) fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let target = Target::of_url(&arguments.url, arguments.key)?;
    let body = prompt::body(&arguments.model, arguments.body_size, arguments.stream);
    let time = Duration::from_secs_f64(arguments.seconds).min(LONGEST);
    let mut plan = Plan {
        stream: arguments.stream,
        requests: arguments.requests.min(MOST_REQUESTS),
        ..Plan::new(target, body, arguments.concurrency.clamp(1, MOST_CONNECTIONS), time)
    };
    if let Some(rate) = arguments.rate {
        plan = plan.at_rate(rate.max(LOWEST_RATE));
    }
    let before = arguments.pid.map(Cpu::of);
    let outcome = plan.run().await;
    print!("{}", report::load(&outcome));
    if let (Some(pid), Some(before)) = (arguments.pid, before) {
        let cpu = Cpu::of(pid).since(&before);
        print!("{}", report::cost(&cpu, &outcome));
        println!("resident {:.1} MiB", resident(pid) as f64 / 1048576.0);
    }
    match outcome.failure {
        Some(failure) => Err(format!("{} failed, the first with: {failure}", outcome.failed).into()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Target, quantile};

    #[test]
    fn load_stays_on_this_machine() {
        for (url, fine) in [
            ("http://127.0.0.1:8080/v1/chat/completions", true),
            ("http://10.0.0.7:8080/", false),
            ("http://192.0.2.1/", false),
            ("http://example.org/", false),
        ] {
            assert_eq!(Target::of_url(url, None).is_ok(), fine, "{url}");
        }
    }

    #[test]
    fn quantiles() {
        let sorted: Vec<u32> = (0..=100).collect();
        assert_eq!(
            (quantile(&sorted, 0.5), quantile(&sorted, 0.99), quantile(&[], 0.5)),
            (Some(50), Some(99), None)
        );
    }
}
