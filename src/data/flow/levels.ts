import { sameJson } from '../../core/json.ts'
import { type Between, BOOKKEEPING, between } from '../bookkeeping.ts'
import { isNamed } from '../recognise.ts'
import type { Level } from './settings.ts'

/** What one bookkeeping says. */
export interface Kept {
  readonly tool: string
  /** As `SchemaShape` names it; null: it is asked by a query, or an earlier version did not say. */
  readonly table: string | null
  readonly applied: readonly string[]
}

/** What lies between two levels in one bookkeeping. */
export interface Gap extends Between {
  readonly tool: string
  readonly table: string | null
  /** The table knows where it stands, not how it came there. */
  readonly headOnly: boolean
  readonly then: readonly string[]
  readonly now: readonly string[]
}

interface Pairs {
  readonly pairs: readonly (readonly [then: Kept | null, now: Kept | null])[]
  readonly untold: readonly Kept[]
}

/** The bookkeepings of a level, the first one that of `tool`. */
export function keptIn({ tool, table = null, applied, others = {}, more = [] }: Level): Kept[] {
  if (tool === null) return []
  const earlier = Object.entries(others).map(([name, list]) => ({ tool: name, table: null, applied: list }))
  return [{ tool, table, applied }, ...earlier, ...more]
}

/** Told by an earlier version, which read one table of each tool and did not say which. */
export function isEarlier({ tool, table }: Level): boolean {
  return tool !== null && table === undefined
}

/**
 * Bookkeeping by bookkeeping. `untold`: those of now of which the earlier level may have known nothing though they were there.
 */
export function gapsBetween(then: Level, now: Level): { gaps: Gap[]; untold: readonly Kept[] } {
  const { pairs, untold } = paired(then, now)
  return { gaps: pairs.map(([a, b]) => gapOf(a, b)), untold }
}

/** Those in which something lies between. */
export function moved(gaps: readonly Gap[]): Gap[] {
  return gaps.filter(gap => gap.extra.length + gap.missing.length > 0)
}

/** Whether both say the same of every bookkeeping. What one of them does not tell is not the same. */
export function sameLevel(a: Level, b: Level | undefined): boolean {
  if (b === undefined) return false
  const { pairs, untold } = isEarlier(b) ? paired(b, a) : paired(a, b)
  return untold.length === 0 && pairs.every(([x, y]) => isSame(x, y))
}

/** The same, as far as `then` tells: what was loaded from a backup may hold more than the backup says of itself. */
export function holdsLevel(now: Level, then: Level): boolean {
  return paired(then, now).pairs.every(([x, y]) => isSame(x, y))
}

function isSame(a: Kept | null, b: Kept | null): boolean {
  // A bookkeeping that lists nothing yet is one all the same: its tool was here.
  return a !== null && b !== null && a.tool === b.tool && sameJson(a.applied, b.applied)
}

function paired(then: Level, now: Level): Pairs {
  const a = keptIn(then)
  // Earlier versions read the first table of a tool by its name.
  const left = isEarlier(then) ? keptIn(now).toSorted(byTable) : keptIn(now)
  const [one, other] = [a[0], left[0]]
  // A query of the settings in place of a tool, or the other way round: its names are what can be compared.
  if (a.length === 1 && left.length === 1 && one && other && [one.tool, other.tool].includes('custom')) {
    return { pairs: [[one, other]], untold: [] }
  }
  const take = (fits: (k: Kept) => boolean) => {
    const at = left.findIndex(fits)
    return at === -1 ? null : (left.splice(at, 1)[0] ?? null)
  }
  const exact = a.map(k => [k, take(o => (k.table === null ? o.tool === k.tool : o.table === k.table))] as const)
  const pairs = exact.map(([k, o]) => [k, o ?? (k.table === null ? take(p => sharesName(k, p)) : null)] as const)
  const untold = isEarlier(then) ? left.filter(o => a.some(k => sharesName(k, o))) : []
  return { pairs: [...pairs, ...left.filter(o => !untold.includes(o)).map(o => [null, o] as const)], untold }
}

function byTable(a: Kept, b: Kept): number {
  return (a.table ?? '') < (b.table ?? '') ? -1 : 1
}

/** Whether the tool of an earlier level keeps its books under the name of this table: then only one such table was read. */
function sharesName({ tool }: Kept, { table }: Kept): boolean {
  const name = BOOKKEEPING.find(b => b.tool === tool)?.table
  return name !== undefined && table !== null && isNamed(table, name)
}

function gapOf(a: Kept | null, b: Kept | null): Gap {
  const [then, now] = [a?.applied ?? [], b?.applied ?? []]
  const tool = b?.tool ?? a?.tool ?? ''
  const headOnly = BOOKKEEPING.find(k => k.tool === tool)?.headOnly === true
  return { tool, table: (b ?? a)?.table ?? null, headOnly, then, now, ...between(then, now, headOnly) }
}

/** How a bookkeeping is called: by its tool, and where it is one of several, by its table. */
export function nameOfBook({ tool, table }: Pick<Kept, 'tool' | 'table'>, several: boolean): string {
  return several && table !== null ? `${tool} (${table})` : tool
}

const SHOWN = 4

export function shownLevel(level: Level): string {
  const all = keptIn(level)
  const [first, ...more] = all
  if (first === undefined) return 'no migration tool known'
  const of = ({ applied }: Kept) => (applied.length === 0 ? 'no migrations' : `migration ${applied.at(-1)}`)
  if (more.length === 0) return of(first)
  const shown = all.slice(0, SHOWN).map(k => `${nameOfBook(k, true)}: ${of(k)}`)
  return [...shown, ...(all.length > SHOWN ? [`and ${all.length - SHOWN} more`] : [])].join(', ')
}

/** For people: what each tool did since, and what nobody can tell. */
export function saidMoved(then: Level, now: Level): string[] {
  const { gaps, untold } = gapsBetween(then, now)
  const several = gaps.length + untold.length > 1
  const said = gaps.flatMap(gap => {
    const name = nameOfBook(gap, several)
    const { extra, missing } = between(gap.then, gap.now, false)
    return [
      ...(extra.length === 0 ? [] : [`${name} applied ${extra.toReversed().join(', ')} since`]),
      ...(missing.length === 0 ? [] : [`${name} undid ${missing.join(', ')} since`]),
    ]
  })
  return [...said, ...untold.map(saidUntold)]
}

export function saidUntold(kept: Kept): string {
  return `what ${nameOfBook(kept, true)} had applied at the release is not known, for an earlier version captured it and read another table of that name`
}
