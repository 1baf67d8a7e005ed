import { afterAll, beforeAll } from 'vitest'
import { type Decision, NOTHING_SAID } from '../../src/data/carry/options.ts'
import { keepSaid } from '../../src/data/carry/state.ts'
import { carryForward } from '../../src/data/carry/step.ts'
import { job, sourceOf } from '../rungs/restored.ts'
import type { RungStory } from '../rungs/story.ts'
import { onMariadb, onPostgres, onSqlite } from '../rungs/systems.ts'
import type { System, World } from '../rungs/world.ts'
import { type Mariadb, mariadb, noMariadb } from './mariadb.ts'
import { noPostgres, type PostgresServer, postgresServer } from './postgres.ts'

export interface CarrySystem {
  readonly name: 'SQLite' | 'PostgreSQL' | 'MariaDB'
  /** Why it cannot be tried here; null: it can. */
  readonly why: string | null
  readonly make: () => Promise<System>
}

interface Servers {
  postgres: PostgresServer
  maria: Mariadb
}

/** All systems, with servers that run for the tests of one file. */
export function carrySystems(): { systems: CarrySystem[]; servers: Servers } {
  const servers = {} as Servers
  beforeAll(async () => {
    if (noPostgres() === null) servers.postgres = await postgresServer()
    if (noMariadb() === null) servers.maria = await mariadb()
  })
  afterAll(async () => {
    await servers.postgres?.dispose()
    await servers.maria?.dispose()
  })
  const systems: CarrySystem[] = [
    { name: 'SQLite', why: null, make: () => onSqlite() },
    { name: 'PostgreSQL', why: noPostgres(), make: () => onPostgres(servers.postgres) },
    { name: 'MariaDB', why: noMariadb(), make: () => onMariadb(servers.maria) },
  ]
  return { systems, servers }
}

export function story(up: string, base: readonly string[], writes: readonly string[]): RungStory {
  return { base, release: [{ name: '002_x', up, down: null }], early: [], meanwhile: [], told: true, writes }
}

export async function said(world: World, ...decisions: Decision[]) {
  await using source = await sourceOf(world)
  const words = { ...NOTHING_SAID, decisions }
  await keepSaid(source.dir, words)
  return await carryForward(source, words, job)
}
