-- The ledger beside the source tables. Counts are records, sizes bytes, times UTC, durations seconds.

CREATE TABLE _runs (
    run_id    TEXT PRIMARY KEY,
    started   TEXT NOT NULL,
    finished  TEXT,                    -- NULL: running, or cut off
    status    TEXT NOT NULL,           -- running, complete, refused, stopped, failed
    options   TEXT NOT NULL,           -- JSON
    versions  TEXT NOT NULL            -- JSON: what the run was made with
) STRICT;

CREATE TABLE _loads (
    load_id        INTEGER PRIMARY KEY,
    run_id         TEXT NOT NULL REFERENCES _runs,
    source         TEXT NOT NULL,
    path           TEXT NOT NULL,
    kind           TEXT NOT NULL,      -- file: a file was read; release: parents had come; replay; repair: corrections; migrate
    origin         INTEGER NOT NULL,   -- the load that began with this version of the file; itself, if none did
    sha256         TEXT,               -- of what was read; NULL until the file was read to its end
    bytes          INTEGER NOT NULL,
    header         TEXT NOT NULL,      -- JSON: the columns as the file has them, to read its raw records again
    read           INTEGER NOT NULL DEFAULT 0,
    inserted       INTEGER NOT NULL DEFAULT 0,
    updated        INTEGER NOT NULL DEFAULT 0,
    unchanged      INTEGER NOT NULL DEFAULT 0,
    rejected       INTEGER NOT NULL DEFAULT 0,
    status         TEXT NOT NULL,      -- running, complete, refused, skipped, stopped
    warnings       TEXT NOT NULL DEFAULT '[]',  -- JSON: sentences
    seconds        REAL NOT NULL DEFAULT 0,
    peak_rss_bytes INTEGER NOT NULL DEFAULT 0,
    fingerprint    TEXT NOT NULL,      -- of the declared source that judged
    started        TEXT NOT NULL
) STRICT;
CREATE INDEX _loads_of_a_file ON _loads (source, path);

-- One row for each transaction that changed something, with the checkpoint that it made.
CREATE TABLE _chunks (
    chunk_id    INTEGER PRIMARY KEY,   -- the greatest one is the version of the data
    load_id     INTEGER NOT NULL REFERENCES _loads,
    records     INTEGER NOT NULL,
    bytes       INTEGER NOT NULL,
    seconds     REAL NOT NULL,
    rss_bytes   INTEGER NOT NULL,
    record_end  INTEGER NOT NULL,      -- how many records, lines and bytes of the file are done
    line_end    INTEGER NOT NULL,
    byte_end    INTEGER NOT NULL,
    digest      TEXT NOT NULL          -- sha256 of those bytes
) STRICT;
CREATE INDEX _chunks_of_a_load ON _chunks (load_id, record_end);

CREATE TABLE _rejects (
    reject_id  INTEGER PRIMARY KEY,
    load_id    INTEGER NOT NULL REFERENCES _loads,
    source     TEXT NOT NULL,
    path       TEXT NOT NULL,
    record     INTEGER,                -- NULL here and below: the whole file was refused
    line       INTEGER,
    last_line  INTEGER,
    byte_start INTEGER,
    byte_end   INTEGER,
    raw        BLOB,
    status     TEXT NOT NULL,          -- open, released, repaired, waived
    key        TEXT                    -- as far as it could be read: tells children of rejected parents
) STRICT;
CREATE INDEX _rejects_of_a_load ON _rejects (load_id);
CREATE INDEX _rejects_open ON _rejects (source, key) WHERE status = 'open';

CREATE TABLE _errors (
    reject_id INTEGER NOT NULL REFERENCES _rejects,
    number    INTEGER NOT NULL,        -- from 1, in the order of the columns
    stage     TEXT NOT NULL,
    code      TEXT NOT NULL,
    "column"  TEXT,
    value     TEXT,
    message   TEXT NOT NULL,
    PRIMARY KEY (reject_id, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX _errors_of_a_kind ON _errors (stage, code);

-- What a corrected record was when it was taken back; what it was before is in _rejects.
CREATE TABLE _repairs (
    reject_id INTEGER PRIMARY KEY REFERENCES _rejects,
    load_id   INTEGER NOT NULL REFERENCES _loads,  -- the load that stored it
    path      TEXT NOT NULL,                       -- the file the correction came in
    after     TEXT NOT NULL,                       -- JSON: the fields as they were given
    repaired  TEXT NOT NULL
) STRICT;

CREATE TABLE _stats (
    load_id INTEGER NOT NULL REFERENCES _loads,
    source  TEXT NOT NULL,
    kind    TEXT NOT NULL,             -- check: rows of this load that break it; under no name: examples: JSON,
    name    TEXT NOT NULL,             -- a digest of the checks and keys of such rows; profile: of all its rows, packed
    value   ANY NOT NULL,
    PRIMARY KEY (load_id, kind, source, name)
) STRICT, WITHOUT ROWID;
