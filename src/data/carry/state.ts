import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { BackoutError, messageOf } from '../../core/errors.ts'
import { replaceFile } from '../../exec/atomic-file.ts'
import { type CarryOptions, carryOptions, NOTHING_SAID } from './options.ts'
import { KINDS } from './words.ts'

const SAID = 'said.json'
const OUTCOME = 'outcome.json'
const BEGUN = 'begun.json'

const table = z.object({
  table: z.string(),
  inserts: z.number(),
  updates: z.number(),
  deletes: z.number(),
  done: z.number(),
  conflicts: z.partialRecord(z.enum(KINDS), z.number()),
  settled: z.number(),
  held: z.number(),
  suspect: z.number(),
})

const outcome = z.object({
  at: z.string(),
  plan: z.string(),
  carried: z.number(),
  /** What the database was then: by it a plan tells that there is nothing left to do. */
  result: z.object({ base: z.string(), data: z.string() }).optional(),
  /** Who took what was not borne out as it is, and why. */
  accepted: z.object({ by: z.string(), reason: z.string() }).optional(),
  /** The step (`StepAct.idem`) that told its run of it. Left out: none did. */
  toldBy: z.string().optional(),
  /** When all of the archive had been put back after a roll-forward. Left out: it was not. */
  replayed: z.string().optional(),
  /** How much of the archive was not put back the last time that somebody tried. Left out: nobody did. */
  notBack: z.number().optional(),
  /** What was left, by table. */
  left: z.array(table),
  archived: z.array(
    z.object({
      table: z.string(),
      column: z.string().nullable(),
      count: z.number(),
      deleted: z.literal(true).optional(),
    }),
  ),
  proof: z.object({
    ok: z.boolean(),
    carried: z.number(),
    listed: z.number(),
    quarantined: z.number(),
    changedSince: z.number(),
    problems: z.array(z.string()),
  }),
})
export type KeptOutcome = z.infer<typeof outcome>

/** How ours was before the first row was carried, by table, and whether a try since then was borne out. */
const begun = z.object({
  before: z.record(z.string(), z.number()),
  stray: z.record(z.string(), z.number()),
  /** What is carried may make the server write elsewhere. Left out: nobody can tell. */
  spreads: z.boolean().optional(),
  proven: z.boolean(),
})
export type Begun = z.infer<typeof begun>

/** What persons said of this run: it holds for every command until they say otherwise. */
export async function readSaid(dir: string): Promise<CarryOptions> {
  return (await read(dir, SAID, carryOptions)) ?? NOTHING_SAID
}

export function keepSaid(dir: string, said: CarryOptions): Promise<void> {
  return keep(dir, SAID, said)
}

/** What came of carrying last time; null: it was not tried, or did not come to its end. */
export function readOutcome(dir: string): Promise<KeptOutcome | null> {
  return read(dir, OUTCOME, outcome)
}

export function keepOutcome(dir: string, kept: KeptOutcome): Promise<void> {
  return keep(dir, OUTCOME, kept)
}

/** null: nothing was begun, or by a version that did not say so. */
export function readBegun(dir: string): Promise<Begun | null> {
  return read(dir, BEGUN, begun)
}

export function keepBegun(dir: string, kept: Begun): Promise<void> {
  return keep(dir, BEGUN, kept)
}

async function read<T>(dir: string, name: string, shape: z.ZodType<T>): Promise<T | null> {
  const path = join(dir, name)
  try {
    return shape.parse(JSON.parse(await readFile(path, 'utf8')))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw new BackoutError({
      code: 'carry_unreadable',
      what: `${path} is not what Backout wrote`,
      cause: messageOf(error),
      next: 'put it back from a copy of the home, or move it away and plan again',
      exit: 'blocked',
      from: error,
    })
  }
}

async function keep(dir: string, name: string, value: unknown): Promise<void> {
  await mkdir(dir, { recursive: true, mode: 0o700 })
  const file = { content: Buffer.from(`${JSON.stringify(value, null, 1)}\n`), mode: 0o600 }
  await replaceFile(join(dir, name), { file, idem: 'carry', before: () => {} })
}
