import type { Manifest, MappedNames } from './archive.ts'
import { archiveIn } from './archive.ts'
import { type ArchivedRow, readLines } from './lines.ts'
import type { Ground } from './piece.ts'
import type { ReplaySource } from './replay.ts'
import { Lines } from './replay-lines.ts'
import type { ListedRow } from './rows.ts'

const LINES = 200

/** Rows that theirs has and that were never carried, by table: what stands under their keys is another row. */
export async function listedLines(source: ReplaySource, ground: Ground, manifest: Manifest): Promise<Lines[]> {
  const made = new Map<string, Listed | null>()
  for (const part of manifest.parts.filter(p => p.what === 'conflicts' || p.what === 'quarantine')) {
    await readLines(archiveIn(source.dir), part, async line => {
      const row = line as ListedRow
      if (!never(row)) return
      if (!made.has(row.table)) made.set(row.table, await begun(source, ground, manifest, row.table, made.size))
      await made.get(row.table)?.add(row)
    })
  }
  const out: Lines[] = []
  for (const listed of made.values()) {
    if (listed === null) continue
    await listed.flush()
    out.push(listed.lines)
  }
  return out
}

/** A row that came with the release, or that was gone from ours, and was not carried. One that was changed is known by its key. */
function never({ action, there, kind }: ListedRow): boolean {
  return there.theirs && (action === 'insert' || (kind !== null && !there.ours))
}

class Listed {
  readonly lines: Lines
  readonly #names: MappedNames
  #some: ArchivedRow[] = []

  constructor(lines: Lines, names: MappedNames) {
    this.lines = lines
    this.#names = names
  }

  async add({ key, cells }: ListedRow): Promise<void> {
    const { columns } = this.#names
    const values = Object.entries(cells).map(([name, { theirs }]) => [columns[name] ?? name, theirs] as const)
    const keys = Object.entries(key).map(([name, value]) => [columns[name] ?? name, value] as const)
    const row = { key: Object.fromEntries(keys), values: Object.fromEntries([...values, ...keys]) }
    if (this.#some.push(row) === LINES) await this.flush()
  }

  async flush(): Promise<void> {
    await this.lines.add(this.#some)
    this.#some = []
  }
}

/** null: the table is not there, or its rows have no key. */
async function begun(
  { schema }: ReplaySource,
  ground: Ground,
  { tables }: Manifest,
  ours: string,
  i: number,
): Promise<Listed | null> {
  const names = tables.find(t => t.ours === ours)
  const shape = schema.tables[names?.theirs ?? '']
  if (names === undefined || shape === undefined) return null
  const typed = (list: readonly string[]) =>
    Object.fromEntries(list.flatMap(c => (shape.columns[c] === undefined ? [] : [[c, names.types[c] ?? '']])))
  const key = typed(names.key)
  if (names.key.length === 0 || Object.keys(key).length < names.key.length) return null
  const columns = typed(Object.values(names.columns))
  const kept = { what: 'listed', path: '', table: names.theirs, shape, key, columns, defaults: {} } as const
  return new Listed(await Lines.make(ground, kept, `backout_listed_${i}`), names)
}
