import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { Finding } from '../../core/contract.ts'
import { isBookkeeping } from '../bookkeeping.ts'
import { type Destroys, readScript, said } from '../down-script.ts'
import { findMigrationFiles, type MigrationFiles, type WayBack, wayBack, wayUp } from '../migration-files.ts'
import type { SchemaDifference } from '../schema.ts'
import type { Say } from './checks.ts'
import type { Live } from './level.ts'
import type { Site } from './site.ts'

/** What the files of the migrations say about undoing them: that it cannot be done, or what it destroys beyond the schema. */
export async function wayBackFindings(
  site: Site,
  live: Live,
  extra: readonly string[],
  differences: readonly SchemaDifference[],
  say: Say,
): Promise<Finding[]> {
  const ways = await waysBack(site, live, extra)
  const out: Finding[] = []
  const unread: string[] = []
  for (const [migration, way] of ways) {
    if (way.is === 'none') out.push(...noWay(live, migration, way, say))
    if (way.is === 'code') unread.push(`${migration} (${way.file} is a program)`)
    if (way.is !== 'sql') continue
    const read = await readScript(way.sql, site.engine.dialect.kind)
    unread.push(...read.unread.map(why => `${migration} (${way.file}: ${why})`))
    const declared = site.settings.loses.some(l => l.migration === migration)
    // Scripts that keep the tool's books themselves take their own migration out of them.
    const books = (d: Destroys) => d.does === 'deletes from' && isBookkeeping(d.name, live.tool)
    const more = read.destroys.filter(d => !isKnown(d, differences) && !books(d))
    if (more.length > 0 && !declared) out.push(destroysMore(migration, way.file, more, say))
  }
  if (unread.length > 0) {
    const what = `What these destroy beyond the schema cannot be read ahead: ${unread.join('; ')}`
    out.push(say('warning', 'down_script_unread', what, 'read them, and name in `loses` what they delete or change'))
  }
  return out
}

/** How each of these migrations is undone, by its files: those of the release that `down` runs from, as far as they are here. */
export async function waysBack(
  site: Site,
  live: Live,
  migrations: readonly string[],
): Promise<ReadonlyMap<string, WayBack>> {
  const { downScripts } = site.settings.migrations
  if (downScripts !== undefined)
    return new Map(await Promise.all(migrations.map(m => namedScript(site, downScripts, m))))
  const files = await filesOf(site, live.level.tool)
  if (files === null) return new Map()
  return new Map(await Promise.all(migrations.map(async m => [m, await wayBack(files, m)] as const)))
}

async function namedScript(site: Site, template: string, migration: string): Promise<[string, WayBack]> {
  const file = template.replaceAll('{name}', migration)
  // One that is not there is told as such elsewhere.
  const sql = await readFile(resolve(site.ctx.baseDir, file), 'utf8').catch(() => null)
  if (sql === null) return [migration, { is: 'unknown' }]
  return [migration, file.endsWith('.sql') ? { is: 'sql', file, sql } : { is: 'code', file }]
}

/** null: the files are not here, or not where anybody looks. */
async function filesOf({ settings: { migrations }, ctx }: Site, tool: string | null): Promise<MigrationFiles | null> {
  if (tool === null) return null
  const { files, runIn, cwd } = migrations
  if (files !== undefined) return { tool, folders: [resolve(ctx.baseDir, files)] }
  if (runIn !== undefined) return null
  const found = await findMigrationFiles(resolve(ctx.baseDir, cwd))
  return found.find(f => f.tool === tool) ?? null
}

/** A tool that has no way back of its own is undone by a command that knows better. */
function noWay(live: Live, migration: string, { file, why, empty }: WayBack & { is: 'none' }, say: Say): Finding[] {
  if (live.tool?.down === null) return []
  const what = `${migration} ${why} (${file})`
  if (empty) return [say('warning', 'down_script_empty', what, 'see that it changed nothing that has to go back')]
  const remedy = 'write it, name the folder that has it in `migrations.files`, or take the rung `restore`'
  return [say('blocker', 'migration_without_down', what, remedy)]
}

function destroysMore(migration: string, file: string, more: readonly Destroys[], say: Say): Finding {
  const what = `Undoing ${migration} ${more.map(said).join(', ')} (${file}), which counting by the schema does not see`
  return say('warning', 'down_script_destroys', what, 'count it in `loses`, or take the rung `restore`')
}

/** Whether it is gone with something that was added since, and so is counted already. */
function isKnown({ does, object, name }: Destroys, differences: readonly SchemaDifference[]): boolean {
  if (object !== 'table' && object !== 'column') return does === 'drops' && object !== 'schema'
  const lower = name.toLowerCase()
  const named = (own: string) => lower === own.toLowerCase() || lower.endsWith(`.${own.toLowerCase()}`)
  return differences.some(d => {
    if (d.is === 'added' && d.object === 'table')
      return named(d.table) || (object === 'column' && isColumnOf(lower, d.table))
    if (d.object !== 'column' || object !== 'column' || !named(d.name)) return false
    return d.is === 'added' || (d.is === 'changed' && does === 'narrows')
  })
}

function isColumnOf(name: string, table: string): boolean {
  const own = `${table.toLowerCase()}.`
  return name.startsWith(own) || name.includes(`.${own}`)
}

/** The SQL by which these migrations went up; null where one of them is a program, or not to be found here. */
export async function waysUp(site: Site, live: Live, migrations: readonly string[]): Promise<string[] | null> {
  const { upScripts } = site.settings.migrations
  const files = upScripts === undefined ? await filesOf(site, live.level.tool) : null
  const read = migrations.map(async name => {
    if (upScripts === undefined) return files === null ? null : wayUp(files, name)
    return readFile(resolve(site.ctx.baseDir, upScripts.replaceAll('{name}', name)), 'utf8').catch(() => null)
  })
  const all = await Promise.all(read)
  return all.includes(null) ? null : all.filter(sql => sql !== null)
}
