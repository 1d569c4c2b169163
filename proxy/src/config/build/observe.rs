//! `audit`, `telemetry`.

use std::time::Duration;

use tollgate_filters::conf::KeyPath;

use super::super::{Audit, Content, Telemetry, raw};
use super::report::Report;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

pub(super) fn audit(report: &mut Report, path: &KeyPath, raw: raw::Audit) -> Audit {
    let hash_key = raw.hash_key.filter(|key| !key.is_empty());
    let at = path.key("hash_key");
    match &hash_key {
        None if raw.content == Content::Hashed => report.refuse(
            at,
            "is missing, and content is `hashed`; write hash_key: \"${NAME}\" (openssl rand -hex 32)",
        ),
        Some(key) if key.expose().len() < 32 => {
            report.refuse(at, "is too short; write at least 32 characters: openssl rand -hex 32");
        }
        _ => {}
    }
    if let Some(instance) = &raw.instance {
        report.plain_name(&path.key("instance"), instance);
    }
    Audit {
        content: raw.content,
        max_text: report.size(&path.key("max_text"), raw.max_text, 1),
        when_full: raw.when_full,
        queue: raw.queue,
        commit_interval: report.time_within(
            &path.key("commit_interval"),
            raw.commit_interval,
            Duration::from_millis(1),
            Duration::from_secs(10),
        ),
        seq_block: raw.seq_block,
        instance: raw.instance.map(Into::into),
        hash_key,
    }
}

pub(super) fn telemetry(report: &mut Report, path: &KeyPath, raw: raw::Telemetry) -> Telemetry {
    let is_level = |part: &str| {
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
        LEVELS.contains(&level.trim())
    };
    if !raw.level.split(',').all(is_level) {
        report.refuse(
            path.key("level"),
            format!("is not a log level; write one of: {}, or info,tollgate_proxy=debug", LEVELS.join(", ")),
        );
    }
    Telemetry {
        log: raw.log,
        level: raw.level,
        org_label: raw.org_label,
        answer_metadata: raw.answer_metadata,
    }
}
