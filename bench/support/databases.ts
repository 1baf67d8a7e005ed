import { FLAGS } from './built.ts'
import { join } from 'node:path'
import type { Backup } from '../../src/core/contract.ts'
import { toJson } from '../../src/core/json.ts'
import type { Engine, Images, Job, Staged } from '../../src/data/engine.ts'
import { runLocal } from '../../src/exec/local.ts'
import { median, ratio } from './measure.ts'
import { LINUX_ONLY, mb, peak } from './peak.ts'
import { ms, notHere, type Row, times } from './row.ts'
import type { Access, Action } from './subjects.ts'

/** How many rows the tables of the benches of databases have. */
export const ROWS = Number(process.env['BACKOUT_BENCH_ROWS'] ?? 1_000_000)
export const ROUNDS = Number(process.env['BACKOUT_BENCH_ROUNDS'] ?? 3)

export const told = (rows: number) => rows.toLocaleString('en')

export const JOB: Job = { signal: new AbortController().signal, guard: () => {}, progress: () => {} }

const COLUMNS = ['id', 'big', 'amount', 'ok', 'at', 'code', 'share', 'name']

/** The table of the benches, as a merge is told of it. */
export const STAGED: Staged = {
  names: { ours: 't', theirs: 't', base: 't', migrated: null },
  key: ['id'],
  columns: COLUMNS.map(c => ({ ours: c, theirs: c, base: c, migrated: null })),
}

/** Finds 1,000 rows in two databases that differ in one column. */
export async function findDifferences(
  { merging, dialect }: Pick<Engine, 'merging' | 'dialect'>,
  images: Images,
): Promise<void> {
  await using merger = await merging(images, JOB)
  await merger.stage(STAGED)
  const [theirs, base] = [merger.table('theirs', 't'), merger.table('base', 't')]
  const differs = dialect.differs('t.amount', 'b.amount')
  const [found] = await merger.query(`SELECT count(*) AS n FROM ${theirs} t JOIN ${base} b USING (id) WHERE ${differs}`)
  if (Number(found?.['n']) !== 1000) throw new Error(`found ${String(found?.['n'])} rows`)
}

/** A backup in a folder, as the catalogue would hand it out. */
export async function dumped(engine: Engine, dir: string): Promise<Backup> {
  const { dumped } = await engine.dump(dir, JOB, async () => null)
  const about = {
    component: 'db',
    reason: 'capture',
    release: null,
    idem: null,
    createdAt: '',
    bytes: 0,
    files: [],
    proof: null,
  } as const
  return { ...about, id: 'bench', dir, facts: toJson({ dump: dumped }) }
}

/** Loads a backup beside, reads every value of it, and removes it. */
export async function prove(engine: Engine, backup: Backup): Promise<void> {
  const beside = await engine.beside(backup, 'scratch', 'bench', JOB)
  await beside.reading(JOB.signal, async db => db.fingerprint(await db.schema()))
  await beside.drop()
}

/** Reads every value; which there are is asked before, as it is in a capture. */
export async function printing(engine: Engine): Promise<() => Promise<unknown>> {
  const schema = await engine.reading(JOB.signal, db => db.schema())
  return () => engine.reading(JOB.signal, db => db.fingerprint(schema))
}

/** A line that compares; `most`: what share of the other at the most. */
export function against(
  what: string,
  ours: readonly number[],
  name: string,
  theirs: readonly number[],
  goal: { readonly text: string; readonly most: number } | null = null,
): Row {
  const share = ratio(ours, theirs)
  return {
    what,
    backout: ms(median(ours)),
    compared: `${name}: ${ms(median(theirs))}`,
    ratio: times(share),
    goal: goal === null ? null : { text: goal.text, met: share <= goal.most },
  }
}

export async function tool(
  argv: readonly string[],
  { env = {}, codes = [0] }: { env?: Record<string, string>; codes?: readonly number[] } = {},
): Promise<void> {
  const { code, stdout, stderr } = await runLocal({ argv, env, limitMs: 3_600_000 })
  if (!codes.includes(code)) throw new Error(`${argv[0]} ended with ${code}: ${stderr}${stdout.slice(-500)}`)
}

const LIMIT_MB = 200

/** The most memory that Backout's own process held at a time in each of the actions, each in a process of its own. */
export async function memory(name: string, access: Access, actions: readonly Action[], dir: string): Promise<Row> {
  const what = `peak memory of Backout with ${told(ROWS)} rows on ${name}, the database's own tools apart`
  const goal = `under ${LIMIT_MB} MB`
  if (LINUX_ONLY !== null) return notHere(what, goal, LINUX_ONLY)
  const worker = join(import.meta.dirname, 'act.ts')
  const found: [Action, number][] = []
  for (const action of actions) {
    const folder = join(dir, `memory-${action}`)
    const argv = [...FLAGS, worker, JSON.stringify(access), action, folder]
    found.push([action, await peak(argv)])
  }
  return {
    what,
    backout: found.map(([action, most]) => `${action} ${mb(most)}`).join(', '),
    compared: '',
    ratio: '',
    goal: { text: goal, met: found.every(([, most]) => most < LIMIT_MB) },
  }
}
