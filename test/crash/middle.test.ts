import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Running, start } from './cli.ts'
import { answer, type Baseline, baseline, expectExit, goOn, LOSS, madeWorld, PLAN, sameEnd, until } from './crash.ts'
import type { World } from './world.ts'

/** The middle of every command that a run starts: before its effect, inside it, and after it while it still runs. */
const NAMES =
  'hook-announce stop.a down.003_coupons.early down.003_coupons down.002_discount hook-data reload-env reload-conf ' +
  'search mail start.a stop.edge start.edge reload-flags'
const MIDDLES = NAMES.split(' ').flatMap(name => (name.endsWith('.early') ? [name] : [name, `${name}.after`]))
const RUNS = 4

let dir: string
let worlds: World[]
let base: Baseline
let kills = 0

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'backout-middle-'))
  worlds = await Promise.all(['x', 'y'].map(name => madeWorld(join(dir, name))))
  const [world] = worlds as [World]
  base = await baseline(world)
}, 300_000)

afterAll(async () => {
  for (const world of worlds ?? []) await world.dispose()
  await rm(dir, { recursive: true, force: true })
})

const parts = Array.from({ length: RUNS }, (_, i) => MIDDLES.filter((_, k) => k % RUNS === i))

it(
  'C16: where Backout is killed in the middle of a command, the command ends with it, and is done again once',
  {
    timeout: 300_000,
  },
  () => everyPart(diesWithBackout),
)

it('C16: a command that outlives Backout and its supervisor is followed, not doubled', { timeout: 300_000 }, () =>
  everyPart(goesOnAlone),
)

type How = (world: World, running: Running, at: string) => Promise<Running>

async function everyPart(how: How): Promise<void> {
  const began = performance.now()
  const before = kills
  const queue = [...parts]
  const work = async (world: World) => {
    for (let part = queue.shift(); part !== undefined; part = queue.shift()) await killedInTheMiddle(world, part, how)
  }
  await Promise.all(worlds.map(work))
  const seconds = Math.round((performance.now() - began) / 1000)
  console.log(`crash matrix: ${kills - before} kills in the middle of a command (${how.name}), ${seconds} s`)
}

/** One run, in which Backout is killed at each of these places. */
async function killedInTheMiddle(world: World, middles: readonly string[], how: How): Promise<void> {
  try {
    await world.reset()
    for (const at of middles) await hold(world, at, true)
    let running = start(world, ['run', PLAN, '--yes', ...LOSS])
    for (let left = [...middles]; left.length > 0; ) {
      const at = await comesTo(world, running, left)
      if (at === null) {
        running = await afterQuestion(world, running)
        continue
      }
      left = left.filter(name => name !== at)
      running = await how(world, running, at)
      kills++
    }
    expectExit(await goOn(world, await running.ended), 0)
    await sameEnd(world, base)
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new Error(`${how.name} at ${middles.join(', ')}\n${why}`, { cause: error })
  }
}

/** The first of these places that the run comes to; null where it ended before (to ask something). */
async function comesTo(world: World, running: Running, middles: readonly string[]): Promise<string | null> {
  let over = false
  void running.ended.then(() => (over = true))
  const there = () => middles.find(at => existsSync(world.path(`at.${at}`)))
  await until(`one of ${middles.join(', ')}`, () => over || there() !== undefined, 120_000)
  return there() ?? null
}

async function afterQuestion(world: World, running: Running): Promise<Running> {
  const ended = await running.ended
  if (ended.code !== 5) throw new Error(`exit ${ended.code}\n${ended.stdout.slice(-2000)}\n${ended.stderr}`)
  await answer(world)
  return start(world, ['resume'])
}

/** Only Backout is killed: its supervisor ends the command, and only then does the next process go on. */
async function diesWithBackout(world: World, running: Running, at: string): Promise<Running> {
  const pid = await pidAt(world, at)
  running.kill('SIGKILL')
  await running.ended
  const next = start(world, ['resume'])
  await until(`the command at ${at} is ended`, async () => {
    expect(await pidAt(world, at)).toBe(pid)
    return !alive(pid)
  })
  await hold(world, at, false)
  return next
}

/** Backout and the supervisors are killed: the command goes on for a while after the next process has taken over. */
async function goesOnAlone(world: World, running: Running, at: string): Promise<Running> {
  const pid = await pidAt(world, at)
  running.kill('SIGSTOP')
  for (const supervisor of supervisorsOf(running.pid)) killed(supervisor)
  running.kill('SIGKILL')
  await running.ended
  expect(alive(pid)).toBe(true)
  const next = start(world, ['resume'])
  await new Promise(resolve => setTimeout(resolve, 900))
  expect(await pidAt(world, at)).toBe(pid)
  expect(alive(pid)).toBe(true)
  await hold(world, at, false)
  return next
}

function killed(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // Gone by itself: another command had just ended.
  }
}

async function hold(world: World, at: string, on: boolean): Promise<void> {
  if (on) await writeFile(world.path(`hold.${at}`), '')
  else {
    await rm(world.path(`at.${at}`), { force: true })
    await rm(world.path(`hold.${at}`), { force: true })
  }
}

async function pidAt(world: World, at: string): Promise<number> {
  await until(`the process at ${at} says its name`, () => readFileSync(world.path(`at.${at}`), 'utf8').trim() !== '')
  return Number(await readFile(world.path(`at.${at}`), 'utf8'))
}

function alive(pid: number): boolean {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

/** The shells between Backout and its commands: each a leader and its watcher, which carries the same command line. */
function supervisorsOf(pid: number): number[] {
  const parents = new Map<number, number>()
  for (const name of readdirSync('/proc').filter(n => /^\d+$/.test(n))) {
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8')
      if (!readFileSync(`/proc/${name}/cmdline`, 'utf8').includes('kill -USR1 $$')) continue
      parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]))
    } catch {
      // Gone meanwhile.
    }
  }
  const leaders = [...parents].filter(([, parent]) => parent === pid).map(([child]) => child)
  const watchers = [...parents].filter(([, parent]) => leaders.includes(parent)).map(([child]) => child)
  return [...watchers, ...leaders]
}
