//! `listeners`, `admin`, `process`, `bounds`.

use std::net::SocketAddr;
use std::time::Duration;

use tollgate_filters::conf::KeyPath;

use super::super::{Admin, Bounds, Cors, Listener, ListenerTls, Process, raw};
use super::report::{Report, Unique, sha256_hex};
use super::url;

pub(super) fn listeners(report: &mut Report, path: &KeyPath, raw: Vec<raw::Listener>) -> Vec<Listener> {
    if raw.is_empty() {
        report.refuse(path.clone(), "is empty; write [{address: \"127.0.0.1:8080\"}]");
    }
    let mut addresses = Unique::new();
    raw.into_iter()
        .enumerate()
        .filter_map(|(index, raw)| {
            let path = path.index(index);
            let address = address(report, &path.key("address"), &raw.address);
            if let Some(address) = address.filter(|a| a.port() != 0) {
                addresses.insert(
                    report,
                    &path.key("address"),
                    address,
                    "give each listener a port of its own",
                );
            }
            if raw.h2c && raw.tls.is_some() {
                report.refuse(path.key("h2c"), "is for plain listeners; remove it, h2 is offered by TLS");
            }
            let trusted_proxies = raw.trusted_proxies.iter().enumerate();
            let trusted_proxies = trusted_proxies
                .filter_map(|(i, text)| network(report, &path.key("trusted_proxies").index(i), text))
                .collect();
            let cors = raw.cors.map(|raw| cors(report, &path.key("cors"), raw));
            let tls = raw.tls.map(tls);
            Some(Listener { address: address?, tls, h2: raw.h2, h2c: raw.h2c, trusted_proxies, cors })
        })
        .collect()
}

pub(super) fn admin(report: &mut Report, path: &KeyPath, raw: raw::Admin, listeners: &[Listener]) -> Admin {
    let at = path.key("address");
    let parsed = address(report, &at, &raw.address);
    let token_hash = raw.token_hash.as_deref().and_then(|text| {
        let hash = sha256_hex(text);
        if hash.is_none() {
            report.refuse(
                path.key("token_hash"),
                "is not a SHA-256; write the 64 hex digits of: printf %s \"$TOKEN\" | sha256sum",
            );
        }
        hash
    });
    if let Some(address) = parsed {
        if address.port() != 0 && listeners.iter().any(|listener| listener.address == address) {
            report.refuse(
                at.clone(),
                "is also the address of a listener; give the admin listener its own port",
            );
        }
        let exposed = !address.ip().is_loopback();
        if exposed && raw.tls.is_none() {
            report.refuse(
                at.clone(),
                "is not loopback and has no TLS; write admin.tls: {cert, key}, or address 127.0.0.1:8081",
            );
        }
        if exposed && raw.token_hash.is_none() {
            report.refuse(
                at,
                "is not loopback and has no token; write admin.token_hash, or address 127.0.0.1:8081",
            );
        }
    }
    for (index, host) in raw.hosts.iter().enumerate() {
        if host.is_empty() || host.contains(['/', ' ']) || has_port(host) {
            report.refuse(
                path.key("hosts").index(index),
                "is not a host name; write it without scheme and port",
            );
        }
    }
    let address = parsed.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8081)));
    let mut hosts: Vec<_> = ["localhost", "127.0.0.1", "[::1]"].map(String::from).into();
    if !address.ip().is_unspecified() {
        hosts.push(match address {
            SocketAddr::V4(v4) => v4.ip().to_string(),
            SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
        });
    }
    hosts.extend(raw.hosts.iter().map(|host| host.to_ascii_lowercase()));
    hosts.sort();
    hosts.dedup();
    Admin { address, tls: raw.tls.map(tls), token_hash, hosts, show_checks: raw.show_checks }
}

pub(super) fn process(report: &mut Report, path: &KeyPath, raw: &raw::Process) -> Process {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let hour = Duration::from_secs(3600);
    Process {
        threads: raw.threads.unwrap_or_else(cores).clamp(1, 1024),
        pre_stop: report.time_within(&path.key("pre_stop"), raw.pre_stop, Duration::ZERO, hour),
        drain: report.time_within(&path.key("drain"), raw.drain, Duration::ZERO, 24 * hour),
        watch: raw
            .watch
            .map(|watch| report.time_within(&path.key("watch"), watch, Duration::from_secs(1), 24 * hour)),
    }
}

pub(super) fn bounds(report: &mut Report, path: &KeyPath, raw: &raw::Bounds) -> Bounds {
    let bounds = Bounds {
        max_body: report.size(&path.key("max_body"), raw.max_body, 1024),
        body_timeout: report.time(&path.key("body_timeout"), raw.body_timeout),
        max_bodies: report.size(&path.key("max_bodies"), raw.max_bodies, 1024),
        max_requests: raw.max_requests,
        max_answer: report.size(&path.key("max_answer"), raw.max_answer, 1024),
        max_event: report.size(&path.key("max_event"), raw.max_event, 1024),
        max_depth: raw.max_depth,
    };
    if bounds.max_bodies < bounds.max_body {
        report.refuse(
            path.key("max_bodies"),
            format!("is less than one body (max_body: {}); write at least that", raw.max_body),
        );
    }
    bounds
}

fn address(report: &mut Report, path: &KeyPath, text: &str) -> Option<SocketAddr> {
    let parsed = text.parse().ok();
    if parsed.is_none() {
        report.refuse(
            path.clone(),
            "is not an IP address and port; write 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080",
        );
    }
    parsed
}

fn network(report: &mut Report, path: &KeyPath, text: &str) -> Option<ipnet::IpNet> {
    let alone = || text.parse::<std::net::IpAddr>().ok().map(ipnet::IpNet::from);
    let parsed = text.parse().ok().or_else(alone);
    if parsed.is_none() {
        report.refuse(path.clone(), "is not a network; write 10.0.0.0/8, or one address such as 10.0.0.7");
    }
    parsed
}

fn cors(report: &mut Report, path: &KeyPath, raw: raw::Cors) -> Cors {
    let path = path.key("origins");
    if raw.origins.is_empty() {
        report.refuse(
            path.clone(),
            "is empty; write the origins, such as [https://app.example.com], or [\"*\"]",
        );
    }
    origins(report, &path, &raw.origins, true);
    Cors { origins: raw.origins, max_age: raw.max_age.0 }
}

/// Origins as browsers write them, or `*` where that is allowed.
pub(super) fn origins(report: &mut Report, path: &KeyPath, origins: &[String], star: bool) {
    for (index, origin) in origins.iter().enumerate() {
        if !(star && origin == "*" || url::is_origin(origin)) {
            report.refuse(
                path.index(index),
                "is not an origin; write scheme and host as a browser does, such as https://app.example.com",
            );
        }
    }
}

/// `name:8080`, but not an IPv6 address.
fn has_port(host: &str) -> bool {
    host.rsplit_once(':').is_some_and(|(name, _)| !name.contains(':'))
}

fn tls(raw: raw::Tls) -> ListenerTls {
    ListenerTls { cert: raw.cert.0, key: raw.key.0, client_ca: raw.client_ca.map(|file| file.0) }
}
