import { LINE, type Lines, NOT_BACK } from './replay-lines.ts'
import type { Place } from './replay-places.ts'

/** What came of one part of the archive. */
export interface ReplayedPart {
  readonly table: string
  /** Of what was listed as a conflict, and comes by a person's word; `deleted`: rows that users deleted, and that go again. */
  readonly kind?: string
  /** null: whole rows. */
  readonly columns: readonly string[] | null
  /** Lines whose content was put back now, and those that needed nothing. */
  readonly back: number
  readonly done: number
  /** Rows that the migration of the release that was left had put there itself, or left so: what ran since does so, or does better. */
  readonly seeded: number
  /** Lines whose place holds something else, whose row is another one, or that the database refused. Nothing was changed there. */
  readonly conflicts: number
  /** Those of the conflicts that a later run has: they are none of this one's any more. Left out: none. */
  readonly later?: number
  /** Columns that the database computes now: what they held stays in the archive. Left out: none. */
  readonly computed?: readonly string[]
  /** Why lines of it were not put back, or not all of them; null: all are back. */
  readonly why: string | null
}

export async function outcome({ part, lines, why, back }: Place): Promise<ReplayedPart> {
  const columns = part.what === 'cells' ? Object.keys(part.columns) : null
  const table = part.table ?? ''
  const about = { table, columns, ...(part.kind === undefined ? {} : { kind: part.kind }) }
  const own = part.own ?? 0
  if (lines === null) return { ...about, back: 0, done: 0, seeded: own, conflicts: part.lines, why }
  const conflicts = await lines.count(NOT_BACK)
  const computed = lines.columns.filter(c => !lines.written.includes(c))
  const more = computed.length === 0 ? {} : { computed }
  const reason = part.what === 'deleted' ? whyThere : whyLeft
  const seeded = await lines.count(`w.state = ${LINE.seeded}`)
  const done = Math.max(0, lines.many - back - conflicts - seeded)
  const later = await lines.count(`w.state = ${LINE.later}`)
  return {
    ...about,
    ...more,
    ...(later === 0 ? {} : { later }),
    back,
    conflicts,
    done,
    seeded: seeded + own,
    why: conflicts === 0 ? null : await reason(lines),
  }
}

const WHY: readonly (readonly [number, (many: number, table: string) => string])[] = [
  [LINE.left, many => `something else is in the place of ${many}`],
  [LINE.part, many => `something else is in some cells of ${many}`],
  [LINE.another, (many, table) => `the row of ${many} may be another one (if not: --settle ${table}:another=theirs)`],
  [LINE.later, many => `a later run has ${many}`],
  [LINE.gone, many => `the row of ${many} is not there`],
  [LINE.cut, many => `what ${many} refer${many === 1 ? 's' : ''} to is not there, or is another one`],
  [LINE.refused, many => `the database refused ${many}`],
]

async function whyThere(lines: Lines): Promise<string> {
  const texts = { [LINE.left]: 'are others now', [LINE.cut]: 'are referred to', [LINE.refused]: 'the database keeps' }
  const reasons: string[] = []
  for (const [state, text] of Object.entries(texts)) {
    const many = await lines.count(`w.state = ${state}`)
    if (many > 0) reasons.push(`${many} ${text}`)
  }
  return reasons.join('; ')
}

async function whyLeft(lines: Lines): Promise<string> {
  const reasons: string[] = []
  for (const [state, text] of WHY) {
    const many = await lines.count(`w.odd = 0 AND w.state = ${state}`)
    if (many > 0) reasons.push(text(many, lines.kept.table))
  }
  const odd = await lines.count(`w.odd = 1 AND ${NOT_BACK}`)
  if (odd > 0) {
    const fit = odd === 1 ? 'does not fit' : 'do not fit'
    const { columns } = lines.kept.shape
    const names = lines.retyped.length > 0 ? lines.retyped : lines.columns.filter(c => columns[c]?.nullable === false)
    reasons.push(`${odd} ${fit} the types that the table has now (${some(names)})`)
  }
  return reasons.join('; ')
}

function some(names: readonly string[]): string {
  return names.length > 5 ? `${names.slice(0, 5).join(', ')}, …` : names.join(', ')
}
