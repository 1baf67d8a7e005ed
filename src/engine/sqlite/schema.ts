/** Raised when the tables change. A journal with a higher number is refused: a newer Backout wrote it. */
export const FORMAT = 2

/** What makes a journal of an older format one of this: from format 1 to 2, and so on. Run after SCHEMA. */
export const UPGRADES: Readonly<Record<number, string>> = {
  1: `
ALTER TABLE events ADD COLUMN op_run TEXT;
ALTER TABLE events ADD COLUMN op_key TEXT;
INSERT INTO calls SELECT root, row_number() OVER (PARTITION BY root), run, key, done, value, error, handle FROM ops;
INSERT INTO calls
  SELECT root, (SELECT count(*) FROM ops o WHERE o.root = r.root) + row_number() OVER (PARTITION BY root), id, 'ended', 1,
    CASE WHEN error IS NULL THEN json_object('ok', json('true'), 'value', json(coalesce(output, 'null')))
    ELSE json_object('ok', json('false'), 'error', error) END, NULL, NULL
  FROM runs r WHERE id <> root AND state IN ('succeeded', 'failed');
DROP TABLE ops;
DELETE FROM runs WHERE id <> root;
DROP INDEX runs_by_root;
`,
}

/**
 * `calls` only grows, in the order in which it was written: the newest row of a call counts. Kept in the order of its keys,
 * what runs side by side would touch as many pages as there are steps.
 */
export const SCHEMA = `
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS runs (
  id TEXT PRIMARY KEY, root TEXT NOT NULL, workflow TEXT NOT NULL, version INTEGER NOT NULL, exclusive TEXT,
  state TEXT NOT NULL, input TEXT NOT NULL, output TEXT, error TEXT, created_at TEXT NOT NULL, updated_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS calls (
  root TEXT NOT NULL, n INTEGER NOT NULL, run TEXT NOT NULL, key TEXT NOT NULL, done INTEGER NOT NULL,
  value TEXT NOT NULL, error TEXT, handle TEXT, PRIMARY KEY (root, n)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS signals (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, root TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,
  idem TEXT NOT NULL, UNIQUE (root, idem)
) STRICT;
CREATE TABLE IF NOT EXISTS events (
  seq INTEGER PRIMARY KEY, run TEXT NOT NULL, at TEXT NOT NULL, type TEXT NOT NULL, data TEXT NOT NULL, mac TEXT NOT NULL,
  op_run TEXT, op_key TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS events_by_run ON events(run, seq);
`
