import { readdir, readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { byText } from '../core/order.ts'
import { type Found, LAYOUTS, type Layout } from './files/layouts.ts'

/** Where the migrations of one tool lie. */
export interface MigrationFiles {
  readonly tool: string
  /** Absolute. Several where the tool has one for each part of the application. */
  readonly folders: readonly string[]
}

/** How one migration is undone, as far as its files say. */
export type WayBack =
  /** By SQL, which can be read ahead. */
  | { readonly is: 'sql'; readonly file: string; readonly sql: string }
  /** By a program, which cannot. */
  | { readonly is: 'code'; readonly file: string }
  /** The tool works it out by itself. */
  | { readonly is: 'computed'; readonly file: string }
  /** Not at all. `why`: "has no way back", "undoes nothing", "says that it is irreversible". */
  | { readonly is: 'none'; readonly file: string; readonly why: string; readonly empty: boolean }
  /** Files of several folders bear its name. */
  | { readonly is: 'several'; readonly files: readonly string[] }
  /** Its file is not there, or nobody can read it. */
  | { readonly is: 'unknown' }

const SKIPPED = new Set('node_modules vendor dist build target coverage venv __pycache__'.split(' '))
const LIKELY = /^(?:migrations?|migrate|versions|drizzle|changelog|changelogs|migration_files)$/i
const DEPTH = 6
const MOST = 5_000

/** Every migration tool whose files lie below a folder, by how they are laid out and what stands in them. */
export async function findMigrationFiles(dir: string): Promise<MigrationFiles[]> {
  const found = new Map<string, string[]>()
  for (const folder of await likelyFolders(dir)) {
    const tool = await toolOf(folder)
    if (tool !== null) found.set(tool, [...(found.get(tool) ?? []), folder])
  }
  return [...found].map(([tool, folders]) => ({ tool, folders }))
}

/** The tool whose migrations lie in this folder; null: none that is known. */
export async function toolOf(folder: string): Promise<string | null> {
  const names = await namesIn(folder)
  for (const layout of LAYOUTS) {
    const first = names.find(name => layout.names.test(name))
    if (first === undefined) continue
    const text = layout.marks === undefined ? '' : await textOf(join(folder, first, layout.inside ?? ''))
    if (layout.marks?.(text, names, folder) ?? true) return layout.tool
  }
  return null
}

/** How a migration, as the bookkeeping of the tool names it, is undone. */
export async function wayBack(files: MigrationFiles, migration: string): Promise<WayBack> {
  const [one, ...more] = await filesFor(files, migration)
  if (one === undefined) return { is: 'unknown' }
  if (more.length > 0) return { is: 'several', files: [one, ...more].map(f => join(f.found.folder, f.found.name)) }
  return one.layout.back(one.found)
}

/** The SQL by which a migration goes up; null: it is a program, or nobody can tell which file is its own. */
export async function wayUp(files: MigrationFiles, migration: string): Promise<string | null> {
  const [one, ...more] = await filesFor(files, migration)
  if (one?.layout.up === undefined || more.length > 0) return null
  const sql = await one.layout.up(one.found)
  return sql?.trim() === '' ? null : sql
}

/**
 * The SQL of all scripts that the tool runs beside its migrations, those of these names among them; null: one is a program, or is not
 * here.
 */
export async function runsBeside(
  { tool, folders }: MigrationFiles,
  named: readonly string[],
): Promise<string[] | null> {
  const again = LAYOUTS.find(l => l.tool === tool)?.again
  const missing = new Set(named.map(name => basename(name)))
  const texts: string[] = []
  for (const folder of folders) {
    for (const name of await namesIn(folder)) {
      if (!missing.delete(name) && again?.test(name) !== true) continue
      const text = name.endsWith('.sql') ? await textOf(join(folder, name)) : ''
      if (text === '') return null
      texts.push(text)
    }
  }
  return missing.size === 0 ? texts : null
}

/** The files that bear a migration's name, one a folder: parts of an application may have migrations of the same name. */
async function filesFor({ tool, folders }: MigrationFiles, migration: string) {
  const layout = LAYOUTS.find(l => l.tool === tool)
  const out: { layout: Layout; found: Found }[] = []
  if (layout === undefined) return out
  for (const folder of folders) {
    const names = await namesIn(folder)
    const name = await nameOf(layout, folder, names, migration)
    if (name === undefined) continue
    out.push({ layout, found: { folder, name, names, migration, read: file => textOf(join(folder, file)) } })
  }
  return out
}

async function nameOf(
  layout: Layout,
  folder: string,
  names: readonly string[],
  migration: string,
): Promise<string | undefined> {
  const mine = names.filter(name => layout.names.test(name))
  const named = mine.find(name => layout.isOf(name, migration, basename(join(folder, '..'))))
  if (named !== undefined || layout.says === undefined) return named
  for (const name of mine) if (layout.says(await textOf(join(folder, name)), migration)) return name
  return undefined
}

async function likelyFolders(dir: string): Promise<string[]> {
  const out: string[] = []
  const open: [path: string, depth: number][] = [[dir, 0]]
  let seen = 0
  for (let next = open.shift(); next !== undefined && seen < MOST; next = open.shift()) {
    const [path, depth] = next
    if (LIKELY.test(basename(path))) out.push(path)
    const entries = await readdir(path, { withFileTypes: true }).catch(() => [])
    seen += entries.length
    if (depth >= DEPTH) continue
    for (const entry of entries.toSorted((a, b) => byText(a.name, b.name))) {
      const skipped = SKIPPED.has(entry.name) || entry.name.startsWith('.')
      if (entry.isDirectory() && !skipped) open.push([join(path, entry.name), depth + 1])
    }
  }
  return out
}

async function namesIn(folder: string): Promise<string[]> {
  const names: string[] = await readdir(folder).catch(() => [])
  return names.sort()
}

/** Empty where it cannot be read: nothing then matches. */
function textOf(file: string): Promise<string> {
  return readFile(file, 'utf8').catch(() => '')
}
