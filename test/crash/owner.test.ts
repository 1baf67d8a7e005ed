import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest'
import { backout, type Ended, type Running, start } from './cli.ts'
import { type Baseline, baseline, eventsIn, expectExit, goOn, LOSS, madeWorld, PLAN, sameEnd, until } from './crash.ts'
import type { World } from './world.ts'
import { MAIN } from '../support/shipped.ts'

/** Where the run is held: parallel branches are in the middle of their commands then. */
const AT = 'search'
/** Of util-linux; gives a command a terminal. */
const TERMINAL = '/usr/bin/script'

vi.setConfig({ testTimeout: 120_000 })

let dir: string
let world: World
let base: Baseline

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'backout-owner-'))
  world = await madeWorld(join(dir, 'world'))
  base = await baseline(world)
}, 300_000)

afterEach(() => rm(world.path(`hold.${AT}`), { force: true }))

afterAll(async () => {
  await world?.dispose()
  await rm(dir, { recursive: true, force: true })
})

/** A run that is in the middle of a command. */
async function held(argv: readonly string[] = ['run', PLAN, '--yes', ...LOSS]): Promise<Running> {
  await world.reset()
  await writeFile(world.path(`hold.${AT}`), '')
  const running = start(world, argv)
  await until(`it is at ${AT}`, () => existsSync(world.path(`at.${AT}`)), 120_000)
  return running
}

/** Waits until nothing was journalled for a while: whoever is stopped then is not in the middle of a write. */
async function quiet(): Promise<void> {
  let seen = -1
  await until('the journal is quiet', async () => {
    const before = seen
    seen = eventsIn(world).length
    await new Promise(resolve => setTimeout(resolve, 500))
    return seen === before
  })
}

async function letGo(): Promise<void> {
  await rm(world.path(`at.${AT}`), { force: true })
  await rm(world.path(`hold.${AT}`))
}

async function status(): Promise<{ state: string; owner: { pid: number } | null; text: string }> {
  const said = JSON.parse((await backout(world, 'status', '--json')).stdout) as {
    state: string
    owner: { pid: number } | null
  }
  return { ...said, text: (await backout(world, 'status')).stdout }
}

async function end(ended: Ended): Promise<void> {
  expectExit(await goOn(world, ended), 0)
  await sameEnd(world, base)
}

it('C16: nobody takes over from a process that is merely stopped; continued, it finishes', async () => {
  const owner = await held()
  await quiet()
  owner.kill('SIGSTOP')
  const before = eventsIn(world).filter(e => e.type !== 'signal').length
  for (const [argv, code] of [
    [['run', PLAN, '--yes', ...LOSS], 'run_open'],
    [['resume'], 'environment_busy'],
    [['capture', 'halfway'], 'run_open'],
    [['upgrade', 'begin', 'v9', '--from', 'halfway'], 'run_open'],
  ] as const) {
    const second = expectExit(await backout(world, ...argv), 8)
    expect(second.stderr).toContain(`[${code}]`)
    expect(second.stderr).toContain(`process ${owner.pid}`)
  }
  const { owner: said, text } = await status()
  expect(said?.pid).toBe(owner.pid)
  expect(text).toContain(`process ${owner.pid}`)
  expect(text).toContain('stopped')
  expect(eventsIn(world).filter(e => e.type !== 'signal').length).toBe(before)
  owner.kill('SIGCONT')
  await letGo()
  await end(await owner.ended)
})

it('C16: an abort while it is merely stopped is said to stand, and does as soon as it goes on', async () => {
  const owner = await held()
  await quiet()
  owner.kill('SIGSTOP')
  const second = expectExit(await backout(world, 'abort', '--reason', 'enough'), 8)
  expect(second.stderr).toContain('[environment_busy]')
  expect(second.stderr).toContain('The abort is journalled all the same: it takes effect as soon as the run goes on')
  owner.kill('SIGCONT')
  await letGo()
  expectExit(await owner.ended, 7)
})

it('C16: stopped in the middle of a write, it holds nobody up who looks, and is named to who wants to write', async () => {
  await world.reset()
  const stop = JSON.stringify([{ when: 'before', point: 'event phase-begun config' }])
  const owner = start(world, ['run', PLAN, '--yes', ...LOSS], {
    BACKOUT_TEST_KILL: stop,
    BACKOUT_TEST_SIGNAL: 'SIGSTOP',
  })
  await until('it is stopped', () => /\) T /.test(readFileSync(`/proc/${owner.pid}/stat`, 'utf8')), 120_000)
  expect((await status()).text).toContain(`kill -CONT ${owner.pid}`)
  const second = expectExit(await backout(world, 'resume'), 8)
  expect(second.stderr).toContain('kill -CONT')
  owner.kill('SIGKILL')
  await owner.ended
  await end(await backout(world, 'resume'))
})

it('C16: stopped, then killed: the next process goes on', async () => {
  const owner = await held()
  owner.kill('SIGSTOP')
  owner.kill('SIGKILL')
  await owner.ended
  expect(await status()).toMatchObject({ state: 'interrupted', owner: null })
  await letGo()
  await end(await backout(world, 'resume'))
})

it('C1: of two runs begun at once one goes on, and the other touches nothing', async () => {
  await world.reset()
  await writeFile(world.path(`hold.${AT}`), '')
  const both = [0, 1].map(() => start(world, ['run', PLAN, '--yes', ...LOSS]))
  const second = await Promise.race(both.map(async run => ({ run, ended: await run.ended })))
  expect(second.ended.code).toBe(8)
  expect(second.ended.stderr).toMatch(/\[(environment_busy|run_open)\]/)
  await until(`it is at ${AT}`, () => existsSync(world.path(`at.${AT}`)), 120_000)
  await letGo()
  const first = both.find(run => run !== second.run) as Running
  await end(await first.ended)
  expect(eventsIn(world).filter(e => e.type === 'run-started')).toHaveLength(1)
})

it.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)('C16: %s pauses after the step in progress', async signal => {
  const owner = await held()
  owner.kill(signal)
  await until('it is asked to pause', () => eventsIn(world).some(e => e.type === 'signal'))
  await letGo()
  const ended = expectExit(await owner.ended, 6)
  expect(ended.stderr).toContain('Pausing after the step in progress')
  expect(ended.stdout).toContain('backout resume')
  expect(readFileSync(world.path('search/index'), 'utf8')).toBe('index-1\n')
  expect((await world.state())['flags']).not.toEqual(base.state['flags'])
  expect(await status()).toMatchObject({ state: 'paused', owner: null })
  await end(await backout(world, 'resume'))
})

it('C16: the second Ctrl-C lets go at once, in the middle of a command', async () => {
  const owner = await held()
  owner.kill('SIGINT')
  await until('it is asked to pause', () => eventsIn(world).some(e => e.type === 'signal'))
  owner.kill('SIGINT')
  const ended = await owner.ended
  expect(ended.signal).toBe('SIGINT')
  expect(ended.stderr).toContain('Nothing is lost: backout resume')
  expect(await status()).toMatchObject({ state: 'interrupted', owner: null })
  await letGo()
  await end(await backout(world, 'resume'))
})

it.skipIf(!existsSync(TERMINAL))('C16: a terminal that closes pauses the run (needs script)', async () => {
  await world.reset()
  await writeFile(world.path(`hold.${AT}`), '')
  const terminal = inTerminal(['run', PLAN, '--yes', ...LOSS])
  await until(`it is at ${AT}`, () => existsSync(world.path(`at.${AT}`)), 120_000)
  terminal.kill('SIGKILL')
  await until('it is asked to pause', () => eventsIn(world).some(e => e.type === 'signal'))
  await letGo()
  await until('the process is gone', async () => (await status()).owner === null)
  expect((await status()).state).toBe('paused')
  await end(await backout(world, 'resume'))
})

it('C17: a reader of the output that goes away does not stop the run', async () => {
  const owner = await held()
  owner.close()
  await letGo()
  await owner.ended
  expect(await status()).toMatchObject({ state: 'succeeded' })
  await sameEnd(world, base)
})

/** On a terminal of its own, whose other end `script` holds: it closes when that is killed. */
function inTerminal(argv: readonly string[]): ChildProcess {
  const line = [process.execPath, MAIN, '--config', world.path('backout.yaml'), ...argv].join(' ')
  const env = { ...process.env, ...world.env }
  return spawn(TERMINAL, ['-qec', `exec ${line}`, '/dev/null'], {
    cwd: world.dir,
    env,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
}
