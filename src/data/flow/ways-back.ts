import { readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import type { Finding } from '../../core/contract.ts'
import { type Destroys, readScript, said } from '../down-script.ts'
import {
  findMigrationFiles,
  type MigrationFiles,
  runsBeside,
  type WayBack,
  wayBack,
  wayUp,
} from '../migration-files.ts'
import type { SchemaDifference } from '../schema.ts'
import type { Say } from './checks.ts'
import type { Live } from './level.ts'
import type { Site } from './site.ts'
import { isCounted, isOfTheBooks } from './told-already.ts'
import type { Task, Undo, WaySettings } from './undoing.ts'

/** What the files of the migrations say about undoing them: that it cannot be done, or what it destroys beyond the schema. */
export async function wayBackFindings(
  site: Site,
  live: Live,
  undos: readonly Undo[],
  differences: readonly SchemaDifference[],
  say: Say,
): Promise<Finding[]> {
  const out: Finding[] = []
  const unread: string[] = []
  for (const { undo, way } of await waysBack(site, undos)) {
    const { migration } = undo
    if (way.is === 'none') out.push(...noWay(undo, way, say))
    if (way.is === 'code') unread.push(`${migration} (${way.file} is a program)`)
    if (way.is === 'several') unread.push(`${migration} (${way.files.join(' and ')}: nobody can tell which is meant)`)
    if (way.is !== 'sql') continue
    const read = await readScript(way.sql, site.engine.dialect.kind)
    unread.push(...read.unread.map(why => `${migration} (${way.file}: ${why})`))
    const declared = site.settings.loses.some(l => l.migration === migration)
    const more = read.destroys.filter(d => !isCounted(d, differences, undo, live) && !isOfTheBooks(d, undo, live))
    if (more.length > 0 && !declared) out.push(destroysMore(migration, way.file, more, say))
  }
  if (unread.length > 0) {
    const what = `What these destroy beyond the schema cannot be read ahead: ${unread.join('; ')}`
    out.push(say('warning', 'down_script_unread', what, 'read them, and name in `loses` what they delete or change'))
  }
  return out
}

/** How each of these migrations is undone, by its files: those of the release that `down` runs from, as far as they are here. */
async function waysBack(site: Site, undos: readonly Undo[]): Promise<{ undo: Undo; way: WayBack }[]> {
  return Promise.all(undos.map(async undo => ({ undo, way: await wayBackOf(site, undo) })))
}

async function wayBackOf(site: Site, { migration, gap, way }: Undo): Promise<WayBack> {
  if (way.downScripts !== undefined) return namedScript(site, way.downScripts, migration)
  const files = await filesOf(site, gap.tool, way)
  return files === null ? { is: 'unknown' } : wayBack(files, migration)
}

async function namedScript(site: Site, template: string, migration: string): Promise<WayBack> {
  const file = template.replaceAll('{name}', migration)
  // One that is not there is told as such elsewhere.
  const sql = await readFile(resolve(site.ctx.baseDir, file), 'utf8').catch(() => null)
  if (sql === null) return { is: 'unknown' }
  return file.endsWith('.sql') ? { is: 'sql', file, sql } : { is: 'code', file }
}

/** null: the files are not here, or not where anybody looks. */
async function filesOf(
  { ctx }: Site,
  tool: string,
  { files, runIn, cwd }: Pick<WaySettings, 'files' | 'runIn' | 'cwd'>,
): Promise<MigrationFiles | null> {
  if (files !== undefined) return { tool, folders: [resolve(ctx.baseDir, files)] }
  if (runIn !== undefined) return null
  const found = await findMigrationFiles(resolve(ctx.baseDir, cwd))
  return found.find(f => f.tool === tool) ?? null
}

/** A tool that has no way back of its own is undone by a command that knows better. */
function noWay({ migration, book }: Undo, { file, why, empty }: WayBack & { is: 'none' }, say: Say): Finding[] {
  if (book?.tool.down === null) return []
  const what = `${migration} ${why} (${file})`
  if (empty) return [say('warning', 'down_script_empty', what, 'see that it changed nothing that has to go back')]
  const remedy = 'write it, name the folder that has it in `migrations.files`, or take the rung `restore`'
  return [say('blocker', 'migration_without_down', what, remedy)]
}

function destroysMore(migration: string, file: string, more: readonly Destroys[], say: Say): Finding {
  const what = `Undoing ${migration} ${more.map(said).join(', ')} (${file}), which counting by the schema does not see`
  return say('warning', 'down_script_destroys', what, 'count it in `loses`, or take the rung `restore`')
}

/** The SQL by which these migrations went up; null where one of them is a program, or not to be found here. */
export async function waysUp(site: Site, { gap, way }: Task): Promise<string[] | null> {
  if (way === null) return null
  const { upScripts } = way
  const files = upScripts === undefined ? await filesOf(site, gap.tool, way) : null
  const read = gap.extra.map(async name => {
    if (upScripts === undefined) return files === null ? null : wayUp(files, name)
    return readFile(resolve(site.ctx.baseDir, upScripts.replaceAll('{name}', name)), 'utf8').catch(() => null)
  })
  const all = await Promise.all(read)
  return all.includes(null) ? null : all.filter(sql => sql !== null)
}

/** The SQL of what their tools may have run beside the migrations; null where one is a program, or not to be found here. */
export async function waysBeside(site: Site, tasks: readonly Task[]): Promise<string[] | null> {
  const out: string[] = []
  for (const { gap, book, way } of tasks) {
    if (book === null || book.again === null) continue
    const { upScripts } = way ?? {}
    const named = upScripts === undefined ? null : [dirname(resolve(site.ctx.baseDir, upScripts))]
    const files =
      named !== null ? { tool: gap.tool, folders: named } : way === null ? null : await filesOf(site, gap.tool, way)
    const texts = files === null ? null : await runsBeside(files, book.again)
    if (texts === null) return null
    out.push(...texts)
  }
  return out
}
