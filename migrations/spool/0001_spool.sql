-- One file per instance generation: STATE_DIR/spool/<generation>/spool.db. Replaced, never migrated: see store/src/spool.rs.

CREATE TABLE spool (
    one       INTEGER PRIMARY KEY CHECK (one = 1),
    instance  TEXT    NOT NULL,                 -- instance.generation
    block_end INTEGER NOT NULL DEFAULT 1,       -- numbers below it are taken
    state     TEXT    NOT NULL DEFAULT 'open'   -- open; closed: stopped in good order; reported: crashed, and a gap event says so
              CHECK (state IN ('open', 'closed', 'reported')),
    acked     TEXT    NOT NULL DEFAULT '[]'     -- ranges of numbers whose batches are moved and deleted
) STRICT;

-- One row per group commit.
CREATE TABLE batches (
    id        INTEGER PRIMARY KEY,              -- 1, 2, 3 … in commit order
    events    INTEGER NOT NULL,
    numbers   TEXT    NOT NULL,                 -- ranges that its records account for
    raw_bytes INTEGER NOT NULL,
    data      BLOB    NOT NULL                  -- zstd of (length, u32 little endian; record)*
) STRICT;

-- Batches that cannot be read back, kept for whoever investigates.
CREATE TABLE damaged (
    id        INTEGER PRIMARY KEY,
    events    INTEGER NOT NULL,
    numbers   TEXT    NOT NULL,
    raw_bytes INTEGER NOT NULL,
    data      BLOB    NOT NULL
) STRICT;

PRAGMA user_version = 1;
