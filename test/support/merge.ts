import { copyFileSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { sqliteDialect } from '../../src/adapters/sqlite/dialect.ts'
import { frozenImage } from '../../src/adapters/sqlite/image.ts'
import { openMerging } from '../../src/adapters/sqlite/merging.ts'
import { readSchema } from '../../src/adapters/sqlite/schema.ts'
import type { CarrySource } from '../../src/data/carry/source.ts'
import type { Images, Job } from '../../src/data/engine.ts'
import type { Rename } from '../../src/data/renames.ts'

/** A restored database with what was there before beside it, as files of a temporary folder. */
export interface Merge {
  readonly dir: string
  readonly source: CarrySource
  readonly ours: string
  readonly theirs: string
}

export interface Story {
  /** The schema and rows at the release. */
  readonly base: string
  /** What the upgrade did to the schema; null: `migrated` was never told. */
  readonly migration?: string
  /** What users wrote then. */
  readonly writes?: string
  /** What was written into ours after the restore. */
  readonly after?: string
  /** Whether `backout upgrade migrated` was called. */
  readonly told?: boolean
  /** What users wrote after the backup, and before `upgrade migrated` was called. */
  readonly meanwhile?: string
  /** The deployment said that they could not. */
  readonly usersAway?: boolean
  readonly renames?: readonly Rename[]
}

export const JOB: Job = { signal: new AbortController().signal, guard: () => {}, progress: () => {} }

/** Plays a release and a restore on files. */
export function played(story: Story): Merge {
  const dir = mkdtempSync(join(tmpdir(), 'backout-carry-'))
  const [base, migrated, theirs, ours] = ['base', 'migrated', 'theirs', 'ours'].map(n => join(dir, `${n}.db`)) as [
    string,
    string,
    string,
    string,
  ]
  write(base, story.base)
  copyFileSync(base, theirs)
  write(theirs, story.migration ?? '')
  write(theirs, story.meanwhile ?? '')
  copyFileSync(theirs, migrated)
  write(theirs, story.writes ?? '')
  copyFileSync(base, ours)
  write(ours, story.after ?? '')
  const told = story.told ?? true
  return {
    dir,
    ours,
    theirs,
    source: {
      ...sourceOf(dir, { ours, theirs, base, migrated: told ? migrated : null }, story.renames ?? []),
      ownWork: story.usersAway ?? false,
      untold: told || story.migration === undefined ? null : { touched: null },
    },
  }
}

export function write(file: string, sql: string): void {
  const db = new DatabaseSync(file)
  db.exec(sql)
  db.close()
}

export function rows(file: string, sql: string): Record<string, unknown>[] {
  const db = new DatabaseSync(file, { readOnly: true })
  try {
    return db
      .prepare(sql)
      .all()
      .map(row => ({ ...row }))
  } finally {
    db.close()
  }
}

interface Files {
  readonly ours: string
  readonly theirs: string
  readonly base: string
  readonly migrated: string | null
}

export function sourceOf(dir: string, files: Files, renames: readonly Rename[]): CarrySource {
  const images: Images = {
    base: frozenImage(files.base),
    theirs: frozenImage(files.theirs),
    migrated: files.migrated === null ? null : frozenImage(files.migrated),
  }
  const schemaOf = (file: string) => {
    // What a killed process left behind in ours is taken back by the next who may write it, as the adapter does.
    const db = new DatabaseSync(file, { readOnly: file !== files.ours })
    try {
      return readSchema(db)
    } finally {
      db.close()
    }
  }
  return {
    component: 'db',
    run: 'run-1',
    dialect: sqliteDialect,
    dir: join(dir, 'carry'),
    images,
    ownWork: false,
    touched: null,
    untold: null,
    renames,
    doubts: [],
    schemas: {
      ours: schemaOf(files.ours),
      base: schemaOf(files.base),
      theirs: schemaOf(files.theirs),
      migrated: files.migrated === null ? null : schemaOf(files.migrated),
    },
    merging: job => openMerging(files.ours, 1000, images, job),
  }
}
