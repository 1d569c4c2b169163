-- The audit trail. `event` is the record exactly as it was written: its bytes are what the chain is made of. The columns
-- beside it are copies for queries.
CREATE TABLE audit_events (
    id              INTEGER PRIMARY KEY,        -- order of arrival; per instance the order of the chain
    event_id        TEXT    NOT NULL UNIQUE,
    instance        TEXT    NOT NULL,
    seq             INTEGER NOT NULL,
    kind            TEXT    NOT NULL,           -- request, lost, gap, refusals, stopped
    ts_us           INTEGER NOT NULL,           -- microseconds since 1970
    request_id      TEXT,
    org             TEXT,
    app             TEXT,
    "user"          TEXT,
    key_id          TEXT,
    route           TEXT,
    api             TEXT,
    model_requested TEXT,
    model           TEXT,
    provider        TEXT,
    target          TEXT,
    stream          INTEGER,
    status          TEXT,
    http_status     INTEGER,
    code            TEXT,
    tokens_input    INTEGER,
    tokens_output   INTEGER,
    cost_nano_usd   INTEGER,
    total_us        INTEGER,
    event           TEXT    NOT NULL
) STRICT;

CREATE INDEX audit_events_ts ON audit_events (ts_us);
CREATE INDEX audit_events_org_ts ON audit_events (org, ts_us) WHERE org IS NOT NULL;
CREATE INDEX audit_events_request ON audit_events (request_id) WHERE request_id IS NOT NULL;

-- How far the chain of each instance generation was followed.
CREATE TABLE audit_instances (
    instance   TEXT    PRIMARY KEY,
    last_batch INTEGER NOT NULL,
    chain      TEXT    NOT NULL,                -- head, count, ranges seen and declared; JSON
    ended      INTEGER NOT NULL DEFAULT 0,      -- 1: nothing follows, holes are final
    updated_us INTEGER NOT NULL
) STRICT;

-- Every known loss and every fault, once.
CREATE TABLE audit_gaps (
    id          INTEGER PRIMARY KEY,
    instance    TEXT    NOT NULL,
    from_seq    INTEGER NOT NULL,
    to_seq      INTEGER NOT NULL,
    reason      TEXT    NOT NULL,               -- crash, dropped, shutdown; hole, broken_link, duplicate_seq, …
    count       INTEGER NOT NULL,               -- requests without an event; 0 for faults of the chain
    reported_by TEXT    NOT NULL,               -- event_id of the gap event, or sink
    found_us    INTEGER NOT NULL,
    UNIQUE (instance, from_seq, to_seq, reason)
) STRICT;
