//! From a written record to a row.

use std::borrow::Cow;

use serde::Deserialize;
use sqlx::QueryBuilder;
use sqlx::sqlite::{Sqlite, SqliteConnection};
use tollgate_filters::audit::{Kind, Timestamp};

/// What queries need, read from the written bytes; everything else stays in them.
#[derive(Debug, Deserialize)]
struct Columns<'a> {
    #[serde(borrow)]
    event_id: Cow<'a, str>,
    kind: Kind,
    #[serde(borrow)]
    instance: Cow<'a, str>,
    seq: u64,
    ts: Timestamp,
    #[serde(borrow)]
    request_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    org: Option<Cow<'a, str>>,
    #[serde(borrow)]
    app: Option<Cow<'a, str>>,
    #[serde(borrow)]
    user: Option<Cow<'a, str>>,
    #[serde(borrow)]
    key_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    route: Option<Cow<'a, str>>,
    #[serde(borrow)]
    api: Option<Cow<'a, str>>,
    #[serde(borrow)]
    model_requested: Option<Cow<'a, str>>,
    #[serde(borrow)]
    model: Option<Cow<'a, str>>,
    #[serde(borrow)]
    provider: Option<Cow<'a, str>>,
    #[serde(borrow)]
    target: Option<Cow<'a, str>>,
    stream: Option<bool>,
    #[serde(borrow)]
    status: Option<Cow<'a, str>>,
    http_status: Option<u16>,
    #[serde(borrow)]
    code: Option<Cow<'a, str>>,
    tokens: Option<Tokens>,
    cost_nano_usd: Option<u64>,
    timing_us: Option<Timing>,
}

#[derive(Debug, Deserialize)]
struct Tokens {
    input: u64,
    output: u64,
}

#[derive(Debug, Deserialize)]
struct Timing {
    total: u64,
}

/// Inserts what is not there yet. Records that cannot be read are left out; the sink reports them.
pub(super) async fn insert(connection: &mut SqliteConnection, records: &[&[u8]]) -> Result<u64, sqlx::Error> {
    let rows: Vec<(Columns<'_>, &str)> = records
        .iter()
        .filter_map(|bytes| {
            let text = std::str::from_utf8(bytes).ok()?;
            Some((serde_json::from_str(text).ok()?, text))
        })
        .collect();
    let mut inserted = 0;
    // Full chunks share one prepared statement, and so do the rows that are left.
    let (chunks, rest) = rows.as_chunks::<CHUNK>();
    for rows in chunks {
        inserted += insert_rows(connection, rows).await?;
    }
    for row in rest {
        inserted += insert_rows(connection, std::slice::from_ref(row)).await?;
    }
    Ok(inserted)
}

async fn insert_rows(
    connection: &mut SqliteConnection,
    rows: &[(Columns<'_>, &str)],
) -> Result<u64, sqlx::Error> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "INSERT INTO audit_events (event_id, instance, seq, kind, ts_us, request_id, org, app, \"user\", key_id, route, api, \
         model_requested, model, provider, target, stream, status, http_status, code, tokens_input, tokens_output, \
         cost_nano_usd, total_us, event) ",
    );
    query.push_values(rows, |mut row, (columns, text)| {
        let tokens = columns.tokens.as_ref();
        row.push_bind(&*columns.event_id)
            .push_bind(&*columns.instance)
            .push_bind(columns.seq as i64)
            .push_bind(columns.kind.as_str())
            .push_bind(columns.ts.micros())
            .push_bind(columns.request_id.as_deref())
            .push_bind(columns.org.as_deref())
            .push_bind(columns.app.as_deref())
            .push_bind(columns.user.as_deref())
            .push_bind(columns.key_id.as_deref())
            .push_bind(columns.route.as_deref())
            .push_bind(columns.api.as_deref())
            .push_bind(columns.model_requested.as_deref())
            .push_bind(columns.model.as_deref())
            .push_bind(columns.provider.as_deref())
            .push_bind(columns.target.as_deref())
            .push_bind(columns.stream)
            .push_bind(columns.status.as_deref())
            .push_bind(columns.http_status)
            .push_bind(columns.code.as_deref())
            .push_bind(tokens.map(|tokens| tokens.input as i64))
            .push_bind(tokens.map(|tokens| tokens.output as i64))
            .push_bind(columns.cost_nano_usd.map(|cost| cost as i64))
            .push_bind(columns.timing_us.as_ref().map(|timing| timing.total as i64))
            .push_bind(*text);
    });
    query.push(" ON CONFLICT (event_id) DO NOTHING");
    Ok(query.build().execute(connection).await?.rows_affected())
}

/// Rows per statement: 25 values each, far below SQLite's 32 766.
const CHUNK: usize = 32;
