/** Raised when the tables change. A journal with a higher number is refused: a newer Backout wrote it. */
export const FORMAT = 2

/** What makes a journal of an older format one of this: from format 1 to 2, and so on. */
export const UPGRADES: Readonly<Record<number, string>> = {
  1: 'ALTER TABLE events ADD COLUMN op_run TEXT; ALTER TABLE events ADD COLUMN op_key TEXT',
}

export const SCHEMA = `
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS runs (
  id TEXT PRIMARY KEY, root TEXT NOT NULL, workflow TEXT NOT NULL, version INTEGER NOT NULL, exclusive TEXT,
  state TEXT NOT NULL, input TEXT NOT NULL, output TEXT, error TEXT, created_at TEXT NOT NULL, updated_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS runs_by_root ON runs(root);
CREATE TABLE IF NOT EXISTS ops (
  root TEXT NOT NULL, run TEXT NOT NULL, key TEXT NOT NULL, done INTEGER NOT NULL,
  value TEXT NOT NULL, error TEXT, handle TEXT, PRIMARY KEY (root, run, key)
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
