import { BackoutError, messageOf } from '../../core/errors.ts'
import type { Lack, Ready } from '../../data/engine.ts'
import type { PostgresSettings } from './config.ts'
import type { Places } from './place.ts'
import type { Source } from './reader.ts'
import { lacksOf, maker, numberless, type Rights, rightsOf, rightsQuery } from './rights.ts'
import { one, openSession } from './session.ts'
import { findTool } from './tools.ts'

const TOOLS = ['pg_dump', 'pg_restore', 'pg_dumpall'] as const

/** Asks the server in use, and the one for proofs, what this role may do, and looks for the tools that fit it. */
export async function ready(
  settings: PostgresSettings,
  { live, scratch }: Places,
  source: Source,
  signal: AbortSignal,
): Promise<Ready> {
  const { database, limits } = source
  await using session = await openSession(live, database, limits, signal)
  const version = Number(await one(session, `SELECT current_setting('server_version_num')`))
  const rights = rightsOf(await one(session, rightsQuery(version)))
  const tools = await toolsFor(settings, Math.floor(version / 10_000))
  const elsewhere = scratch !== live
  const own = lacksOf(rights, elsewhere)
  const there = elsewhere ? await scratchLacks(settings, scratch, source, signal) : []
  const number = rights.superuser || (await readsNumber(settings, live, source, signal))
  const comfort = number ? [] : [numberless(rights.role, settings.maintenance)]
  const lacks = [...tools.lacks, ...own, ...there, ...comfort]
  return { well: [...tools.well, ...(lacks.some(l => l.for !== 'comfort') ? [] : [suffices(rights)])], lacks }
}

function suffices({ role }: Rights): string {
  return `the role ${role} may do all that capturing and going back take`
}

async function toolsFor(settings: PostgresSettings, major: number): Promise<Ready> {
  const well: string[] = []
  const lacks: Lack[] = []
  for (const name of TOOLS) {
    try {
      well.push((await findTool(name, settings.tools, major)).said)
    } catch (error) {
      if (!(error instanceof BackoutError)) throw error
      const { code, next = '' } = error
      lacks.push({ for: 'capture', code, what: messageOf(error), remedy: next })
    }
  }
  return { well: well.length === 0 ? [] : [`${well.join(', ')}; the server is ${major}`], lacks }
}

async function readsNumber(
  { maintenance }: PostgresSettings,
  live: Places['live'],
  { limits }: Source,
  signal: AbortSignal,
): Promise<boolean> {
  await using session = await openSession(live, maintenance, limits, signal)
  return (await one(session, `SELECT has_function_privilege('pg_control_system()', 'EXECUTE')`)) === 'true'
}

/** On another server only databases are made. */
async function scratchLacks(
  settings: PostgresSettings,
  scratch: Places['scratch'],
  { limits }: Source,
  signal: AbortSignal,
): Promise<Lack[]> {
  const maintenance = settings.scratch?.maintenance ?? settings.maintenance
  await using session = await openSession(scratch, maintenance, limits, signal)
  const may = await one(session, 'SELECT rolsuper OR rolcreatedb FROM pg_roles WHERE rolname = current_user')
  return may === 'true' ? [] : [maker(await one(session, `SELECT format('%I', current_user)`), 'capture', session.name)]
}
