import type { Backup, Compared, ComparedPart, CompareQuestion } from '../../core/contract.ts'
import { messageOf } from '../../core/errors.ts'
import { between } from '../bookkeeping.ts'
import { compareFingerprints, type DataDifference } from '../diff.ts'
import type { Image, Reader } from '../engine.ts'
import { compareSchemas, type SchemaShape } from '../schema.ts'
import { differingRows } from './differing.ts'
import { factsIn } from './facts.ts'
import { type Live, readLive } from './level.ts'
import { gapsBetween, saidMoved } from './levels.ts'
import type { DatabasePin, Level } from './settings.ts'
import { pairOf } from './since.ts'
import { jobOf, type Site } from './site.ts'

type Ask = CompareQuestion<DatabasePin>

/** The live database beside what a release was captured with: counts first, rows where they are asked for. */
export async function compareWith(site: Site, question: Ask): Promise<Compared> {
  const { to, signal } = question
  const notes: string[] = []
  const identity = await site.engine.identity(signal)
  if (identity !== to.identity) notes.push(`the release was captured from ${to.identity}, this is ${identity}`)
  return site.engine.reading(signal, async now => {
    const live = await readLive(site, now, to.level)
    const { schema } = live
    const shape = [...compareSchemas(to.schema, schema).map(d => d.text), ...migrationsMoved(to.level, live)]
    question.progress({ text: 'taking the fingerprint' })
    const data = await now.fingerprint(schema, undefined, to.fingerprint.method)
    if (data.method !== to.fingerprint.method) {
      notes.push(
        `the data cannot be compared: its fingerprint was made by ${to.fingerprint.method}, not by ${data.method}`,
      )
      return { shape, parts: [], notes }
    }
    const different = compareFingerprints(to.fingerprint, data)
    if (question.rows === 0 || different.length === 0) return { shape, parts: different.map(counted), notes }
    const parts = await withRows(site, question, now, { schema, different, notes })
    return { shape, parts, notes }
  })
}

/** What the migration tools say, beside what they said then. For people. */
function migrationsMoved(then: Level, { level, unfinished }: Live): string[] {
  const { gaps, untold } = gapsBetween(then, level)
  if (gaps.length > 1 || untold.length > 0) return [...saidMoved(then, level), ...unfinished]
  const [{ then: before, now } = { then: [], now: [] }] = gaps
  const { extra, missing } = between(before, now, false)
  const moved = [
    ...(then.tool === level.tool
      ? []
      : [`migrations are kept by ${level.tool ?? 'no tool'}, not by ${then.tool ?? 'none'}`]),
    ...(extra.length === 0 ? [] : [`migrations were applied since: ${extra.toReversed().join(', ')}`]),
    ...(missing.length === 0 ? [] : [`migrations are not applied any more: ${missing.join(', ')}`]),
  ]
  return [...moved, ...unfinished]
}

function counted({ table, rowsThen, rowsNow, columns }: DataDifference): ComparedPart {
  return { name: table, then: rowsThen, now: rowsNow, columns, exact: null, rows: [] }
}

interface Found {
  readonly schema: SchemaShape
  readonly different: readonly DataDifference[]
  readonly notes: string[]
}

async function withRows(site: Site, question: Ask, now: Reader, { schema, different, notes }: Found) {
  const image = await imageOf(site, question).catch((error: unknown) => messageOf(error))
  if (typeof image === 'string') {
    notes.push(`no rows can be shown: ${image}`)
    return different.map(counted)
  }
  try {
    return await image.reading(question.signal, async base => {
      const parts: ComparedPart[] = []
      for (const d of different) parts.push(await withRowsOf(site, question, { now, base }, schema, d))
      return parts
    })
  } finally {
    await ('drop' in image && typeof image.drop === 'function' ? (image.drop as () => Promise<void>)() : undefined)
  }
}

async function withRowsOf(
  site: Site,
  question: Ask,
  readers: { now: Reader; base: Reader },
  schema: SchemaShape,
  d: DataDifference,
): Promise<ComparedPart> {
  const [then, here] = [question.to.schema.tables[d.table], schema.tables[d.table]]
  if (then === undefined || here === undefined) return counted(d)
  question.progress({ text: `comparing the rows of ${d.table}` })
  const found = await differingRows(site.engine.dialect, readers, pairOf(d.table, then, here), question)
  return { ...counted(d), ...found }
}

/** The release's backup, whole, to be read. Throws where there is none. */
async function imageOf(site: Site, { to, backups, ...act }: Ask): Promise<Image> {
  if (to.backup === null) throw new Error('the release has no backup of its own')
  const backup: Backup = await backups.get(to.backup)
  const altered = await backups.check(backup.id, act.signal)
  if (altered.length > 0 || factsIn(backup, site.engine.dialect.kind) === null) {
    throw new Error(`the backup ${backup.id} is not as it was made: ${altered.slice(0, 3).join(', ') || 'no facts'}`)
  }
  if (site.engine.peek !== undefined) return site.engine.peek(backup)
  return site.engine.beside(backup, 'scratch', `compare-${backup.id}`, jobOf(act))
}
