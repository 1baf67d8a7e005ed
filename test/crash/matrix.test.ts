import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Baseline, baseline, type Kill, killedAt, madeWorld, sameEnd } from './crash.ts'
import type { World } from './world.ts'

/** How many worlds are at it at the same time, and how often one run is killed, at points far from each other. */
const WORLDS = 2
const KILLS_A_RUN = 12

let dir: string
let worlds: World[]
let base: Baseline

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'backout-crash-'))
  worlds = await Promise.all(Array.from({ length: WORLDS }, (_, i) => madeWorld(join(dir, `world-${i}`))))
  const bases = await Promise.all(worlds.map(world => baseline(world)))
  base = bases[0] as Baseline
  for (const other of bases) expect(other.state).toEqual(base.state)
}, 300_000)

afterAll(async () => {
  for (const world of worlds ?? []) await world.dispose()
  await rm(dir, { recursive: true, force: true })
})

it('C16: killed at every journalled point and around every write, a run ends as if it had not been, nothing done twice', {
  timeout: 600_000,
}, async () => {
  const began = performance.now()
  const kills = killsAt(base.points)
  const stride = Math.ceil(kills.length / KILLS_A_RUN)
  const runs = Array.from({ length: stride }, (_, i) => kills.filter((_, k) => k % stride === i))
  const { killed, alone } = await all(runs)
  // Points of parallel branches may be passed before their turn comes: these get a run of their own.
  const rest = await all(alone.map(kill => [kill]))
  const total = killed + rest.killed
  const seconds = Math.round((performance.now() - began) / 1000)
  const missed = rest.alone.map(k => `${k.when} ${k.point}`)
  console.log(
    `crash matrix: ${total} kills at ${new Set(kills.map(k => k.point)).size} points (commits of the journal, writes), ` +
      `${runs.length + alone.length} runs, ${seconds} s${missed.length > 0 ? `; not come to: ${missed.join('; ')}` : ''}`,
  )
  expect(missed.length).toBeLessThanOrEqual(kills.length / 50)
})

/**
 * After every point, and before it: there only where something was done since the point before it, for otherwise the world
 * and the journal are those of the kill after that one.
 */
function killsAt(trace: readonly string[]): Kill[] {
  const isCommit = (point: string | undefined) =>
    point !== undefined && !/^(spawn$|rename |link |symlink |put )/.test(point)
  return trace.flatMap((point, i): Kill[] => {
    if (point === 'spawn') return []
    const same = isCommit(point) && isCommit(trace[i - 1])
    return [...(same ? [] : [{ when: 'before', point } as const]), { when: 'after', point }]
  })
}

/** Goes through these runs with all worlds. Answers the kills that did not happen. */
async function all(runs: readonly (readonly Kill[])[]): Promise<{ killed: number; alone: Kill[] }> {
  const queue = [...runs]
  const alone: Kill[] = []
  let killed = 0
  await Promise.all(
    worlds.map(async world => {
      for (let kills = queue.shift(); kills !== undefined; kills = queue.shift()) {
        const happened = await one(world, kills)
        killed += happened.length
        alone.push(...kills.filter(kill => !happened.includes(kill)))
      }
    }),
  )
  return { killed, alone }
}

async function one(world: World, kills: readonly Kill[]): Promise<Kill[]> {
  try {
    const happened = await killedAt(world, kills)
    await sameEnd(world, base)
    return happened
  } catch (error) {
    const where = kills.map(k => `${k.when} ${k.point}`).join('\n')
    throw new Error(`killed at\n${where}\n${error instanceof Error ? error.message : String(error)}`, { cause: error })
  }
}
