import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { noPostgres, type PostgresServer, postgresServer } from '../support/postgres.ts'
import { type RestoreWorld, restoreWorld } from './restore/world.ts'

interface Event {
  readonly type: string
  readonly data: { readonly step?: string; readonly phase?: string; readonly gate?: string; readonly outcome?: string }
}

const RUN = ['--json', 'run', '--yes', '--loss-window', '1h']

/** What ends, in its order: phases as they begin, steps and gates with what came of them. */
function story(events: readonly Event[]): string[] {
  return events.flatMap(({ type, data }) => {
    if (type === 'phase-begun') return [`== ${data.phase}`]
    if (type === 'step-done') return [data.step ?? '']
    return type === 'gate' ? [`${data.gate} ${data.outcome}`] : []
  })
}

/** The real command line as a process; `killAfter`: the step after which it is killed. */
async function backout(world: RestoreWorld, argv: readonly string[], killAfter?: string) {
  const child = world.folder.start(...argv)
  let complaint = ''
  child.stderr?.on('data', (chunk: Buffer) => (complaint += chunk.toString()))
  const events: Event[] = []
  createInterface({ input: child.stdout as Readable }).on('line', line => {
    if (!line.startsWith('{')) return
    const event = JSON.parse(line) as Event
    events.push(event)
    if (event.type === 'step-done' && event.data.step === killAfter) child.kill('SIGKILL')
  })
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, events, complaint }
}

/** Looks at a door all the time; answers what was seen, without repetitions. */
function watch(url: string): { seen: string[]; stop(): Promise<void> } {
  const seen: string[] = []
  const over = new AbortController()
  const looking = (async () => {
    while (!over.signal.aborted) {
      const text = await fetch(`${url}/version`).then(r => r.text(), String)
      if (seen.at(-1) !== text) seen.push(text)
      await sleep(10)
    }
  })()
  const stop = () => {
    over.abort()
    return looking
  }
  return { seen, stop }
}

async function onV2(server: PostgresServer, database: string): Promise<{ world: RestoreWorld; orders: number[] }> {
  const world = await restoreWorld(server, database)
  const said = async (...argv: string[]) => {
    const ran = await world.folder.run(...argv)
    expect({ argv, code: ran.code }, ran.stdout + ran.stderr).toEqual({ argv, code: 0 })
  }
  await said('capture', 'v1', '--known-good')
  await said('upgrade', 'begin', 'v2')
  await world.deployV2()
  await said('upgrade', 'migrated', 'v2')
  const orders = [await world.order(), await world.order()]
  await said('upgrade', 'end', 'v2')
  return { world, orders }
}

const skipped = noPostgres()

describe.skipIf(skipped !== null)(`C13: a whole restore${skipped === null ? '' : ` (${skipped})`}`, () => {
  let server: PostgresServer
  beforeAll(async () => {
    server = await postgresServer()
  })
  afterAll(() => server?.dispose())

  it('goes from offline to online in its order, once the data-loss window was confirmed', async () => {
    const { world, orders } = await onV2(server, 'whole')
    await using _ = world
    const refused = await backout(world, ['run', '--yes'])
    expect(refused).toMatchObject({ code: 2, complaint: expect.stringContaining('restore_not_confirmed') })
    expect(refused.complaint.replaceAll(/\s+/g, ' ')).toMatch(
      /takes with it what was written since 20\d\d-\S+Z \([^)]+\); what fits is brought back afterwards/,
    )
    const short = await backout(world, ['run', '--yes', '--loss-window', '1ms'])
    expect(short).toMatchObject({ code: 3, complaint: expect.stringContaining('loss_window_exceeded') })
    expect(world.calls()).toEqual([''])

    const outside = watch(world.outside)
    await expect.poll(() => outside.seen).toEqual(['v2'])
    const { code, events, complaint } = await backout(world, RUN)
    expect(code, complaint).toBe(0)
    await expect.poll(() => outside.seen.at(-1)).toBe('v1')
    await outside.stop()
    expect(outside.seen).toEqual(['v2', 'maintenance', 'v1'])
    const told = story(events)
    const among = (from: string, to: string) => told.slice(told.indexOf(from) + 1, told.indexOf(to)).toSorted()
    expect(told.filter(each => each.startsWith('=='))).toEqual(
      ['drain', 'stop', 'backup', 'data', 'code', 'verify', 'return', 'watch'].map(phase => `== ${phase}`),
    )
    expect(among('== drain', '== stop')).toEqual(['edge/drained'])
    expect(among('== stop', '== backup')).toEqual(['app/stop/local', 'timers/stopped'])
    expect(told.slice(told.indexOf('== backup'), told.indexOf('== return') + 1)).toEqual([
      '== backup',
      'db/backup',
      '== data',
      'db/restore/load',
      'db/restore/swap',
      'db/restore/carry',
      '== code',
      'app/switch/local',
      'app/start/local',
      '== verify',
      'edge/drained/undo/1',
      'smoke pass',
      '== return',
    ])
    expect(among('== return', '== watch')).toEqual(['edge/drained/undo/2', 'online pass', 'timers/stopped/undo'])
    expect(world.calls().filter(c => c.startsWith('edge'))).toEqual(['edge closed', 'edge inside', 'edge open'])
    const kept = await world.sql(`SELECT id, total, note FROM orders WHERE note = 'on v2' ORDER BY id`)
    expect(kept).toEqual(orders.map(id => ({ id, total: 100, note: 'on v2' })))
    const ticks = async () => Number((await world.sql('SELECT max(id) AS n FROM ticks'))[0]?.['n'])
    const before = await ticks()
    await expect.poll(ticks).toBeGreaterThan(before)
  }, 240_000)

  it('killed in the middle it goes on; where the smoke test fails users outside stay out until it is mended', async () => {
    const { world } = await onV2(server, 'resumed')
    await using _ = world
    await world.broken('yes')
    const [outside, inside] = [watch(world.outside), watch(world.inside)]
    await expect.poll(() => [...outside.seen, ...inside.seen]).toEqual(['v2', 'v2'])
    const killed = await backout(world, RUN, 'db/restore/load')
    expect(killed.code).toBeNull()
    await expect.poll(() => [outside.seen.at(-1), inside.seen.at(-1)]).toEqual(['maintenance', 'maintenance'])

    const failed = await backout(world, ['--json', 'resume'])
    expect(failed.code, failed.complaint).toBe(5)
    expect(story(failed.events).slice(-2)).toEqual(['smoke fail', 'edge/drained/away'])
    expect(world.calls()).toEqual(['edge closed', 'timers stop', 'edge inside', 'edge closed'])
    expect(outside.seen).toEqual(['v2', 'maintenance'])
    await expect.poll(() => inside.seen).toEqual(['v2', 'maintenance', 'v1', 'maintenance'])
    expect((await world.folder.run('status')).stdout).toContain('smoke')

    await world.broken('no')
    const mended = await backout(world, ['--json', 'resume'])
    expect(mended.code, mended.complaint).toBe(0)
    await expect.poll(() => outside.seen).toEqual(['v2', 'maintenance', 'v1'])
    await Promise.all([outside.stop(), inside.stop()])
    const calls = ['edge closed', 'timers stop', 'edge inside', 'edge closed', 'edge inside', 'edge open']
    expect(world.calls().filter(c => c !== 'timers start')).toEqual(calls)
    const done = [killed, failed, mended].flatMap(r => story(r.events)).filter(s => /^(db|app)\//.test(s))
    expect(done.toSorted()).toEqual([...new Set(done)].toSorted())
  }, 240_000)
})
