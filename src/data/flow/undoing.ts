import { reveal } from '../../core/secret.ts'
import { isTable } from '../recognise.ts'
import type { Book, Live } from './level.ts'
import type { Gap } from './levels.ts'
import type { DatabaseSettings } from './settings.ts'

type Migrations = DatabaseSettings['migrations']

/** How what one bookkeeping lists is undone, as the settings have it. */
export type WaySettings = Pick<Migrations, 'down' | 'runIn' | 'cwd' | 'files' | 'downScripts' | 'upScripts'> & {
  /** The entry of `migrations.also` that says it; null: `migrations` itself. */
  readonly also: string | null
}

/** One migration that is to be undone. `book`: null where the settings ask by a query what is applied. */
export interface Undo {
  readonly migration: string
  readonly gap: Gap
  readonly book: Book | null
  readonly way: WaySettings
}

/** A bookkeeping in which something lies between. `way`: null where the settings do not say how that is undone. */
export interface Task {
  readonly gap: Gap
  readonly book: Book | null
  readonly way: WaySettings | null
}

export function tasksFor(migrations: Migrations, live: Live, gaps: readonly Gap[]): Task[] {
  return gaps.map(gap => {
    const book = live.books.find(b => b.table === gap.table) ?? null
    return { gap, book, way: book === null ? mainWay(migrations) : wayOf(migrations, live, book) }
  })
}

/** A bookkeeping's own settings, or else those of the tool, where they can only mean this one or ask which one it is. */
function wayOf(migrations: Migrations, live: Live, book: Book): WaySettings | null {
  const own = ownWay(migrations, book.table, live.home)
  if (own !== null) return own
  const main = mainWay(migrations)
  const rest = live.books.filter(b => ownWay(migrations, b.table, live.home) === null)
  const meant = migrations.tool === undefined ? rest : rest.filter(b => b.tool.tool === migrations.tool)
  if (!meant.includes(book)) return null
  if (meant.length === 1 && (rest.length === 1 || migrations.tool !== undefined)) return main
  if (says(main, 'BACKOUT_TABLE')) return main
  const oneTool = meant.every(b => b.tool === book.tool)
  return oneTool && says(main, 'BACKOUT_SCHEMA') ? main : null
}

/** The settings by which a step undoes, as they are when it does. */
export function wayAt(migrations: Migrations, also: string | null): WaySettings {
  if (also === null) return mainWay(migrations)
  const own = migrations.also[also]
  return { ...own, cwd: own?.cwd ?? migrations.cwd, also }
}

function ownWay(migrations: Migrations, table: string, home: string): WaySettings | null {
  const name = Object.keys(migrations.also).find(meant => isTable(table, meant, home))
  return name === undefined ? null : wayAt(migrations, name)
}

function mainWay(migrations: Migrations): WaySettings {
  return { ...migrations, also: null }
}

/** The setting of the command, for people. */
export function commandOf({ also }: WaySettings): string {
  return also === null ? 'migrations.down' : `migrations.also.${also}.down`
}

export function says({ down }: Pick<WaySettings, 'down'>, variable: string): boolean {
  return down?.some(word => reveal(word).includes(variable)) === true
}

/**
 * All of them in the order in which they are undone: newest first where it is known when each was applied, else one bookkeeping
 * after the other, the main one last. `guessed`: it is not known.
 */
export function inOrder(tasks: readonly Task[]): { undos: Undo[]; guessed: boolean } {
  const lists = tasks.flatMap(({ gap, book, way }) =>
    way === null || gap.extra.length === 0 ? [] : [gap.extra.map(migration => ({ migration, gap, book, way }))],
  )
  if (lists.length < 2) return { undos: lists.flat(), guessed: false }
  if (!comparable(lists.flat())) {
    return { undos: lists.toReversed().flat(), guessed: true }
  }
  const undos: Undo[] = []
  while (lists.some(list => list.length > 0)) {
    const heads = lists.filter(list => list.length > 0)
    const newest = heads.reduce((a, b) => (timeOf(b) > timeOf(a) ? b : a))
    undos.push(...newest.splice(0, 1))
  }
  return { undos, guessed: false }
}

function timeOf([undo]: readonly Undo[]): string {
  return undo?.book?.times.get(undo.migration) ?? ''
}

/** Times of one tool are written in one way; those of several are the same hours only where they say so. */
function comparable(undos: readonly Undo[]): boolean {
  if (undos.some(undo => timeOf([undo]) === '')) return false
  return undos.every(u => u.book?.tool === undos[0]?.book?.tool) || undos.every(u => u.book?.zoned === true)
}
