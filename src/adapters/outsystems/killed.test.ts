import { existsSync, mkdtempSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { stepAct } from '../../../test/conformance/walk.ts'
import { Shop } from '../../../test/support/lifetime/shop.ts'
import { memoryWorld } from '../../../test/support/memory-world.ts'
import { Mortal } from '../../../test/support/mortal.ts'
import { fastClock, Journal } from '../../../test/support/rollback.ts'
import type { Target } from '../../core/contract.ts'
import type { Plan } from '../../core/plan.ts'
import type { Pin } from './pin.ts'

// In memory where the machine has that: what a disk keeps is the engine's own test.
const root = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'backout-outsystems-kill-'))
afterAll(() => rm(root, { recursive: true, force: true }))

// The packages that were captured.
const { backups } = stepAct()
/** Of the points that a run passes, every so many is one to die at. */
const EVERY = 4
const MORE = { producers: {}, maintenance: { reason: 'a rollback' } }

/**
 * Somebody's deployment is stopped, a deployment fails, and the solution package is published; by a process that dies at
 * that point, and one that lives. Answers whether the first one died.
 */
async function through(dieAt: number, pin: Pin): Promise<boolean> {
  await using shop = await Shop.open()
  shop.upgrade()
  const bad = [{ application: 'Shop', label: '2' }]
  const going = shop.lifetime.started('Quality', 'Production', bad, { ms: Infinity, deployingAfter: Infinity })
  const broken = { ends: 'finished_with_errors', partly: 1 } as const
  shop.lifetime.courses.push(broken, broken)
  const opened = async (): Promise<Target> => {
    const target = await shop.target(MORE)
    return {
      ...target,
      propose: question => target.propose({ ...question, to: { ...pin, identity: question.from.identity } }),
    } as Target
  }
  const journal = new Journal(join(root, `${dieAt}`))
  let plan: Plan | null = null
  let died = 0
  for (const at of [dieAt, Infinity]) {
    const life = new Mortal(at)
    const target = await opened()
    // A factor of ten: limits of half a minute still last some seconds.
    const { world, plan: make } = memoryWorld(
      { systems: {}, targets: { apps: target }, onFailure: 'take' },
      fastClock(10),
    )
    plan ??= await make()
    const mortal = life.target(target)
    if (await journal.process(life, { ...world, backups, target: async () => mortal }, plan)) break
    died++
  }
  const { state, broken: chain } = await journal.read()
  const made = shop.lifetime.deployments.filter(d => d !== going)
  expect({ state, chain, versions: shop.versions, stopped: going.commands }, `killed at ${dieAt}`).toEqual({
    state: 'succeeded',
    chain: null,
    versions: ['1', '1', '1'],
    stopped: ['abort'],
  })
  const started = made.filter(d => d.startedOn !== null).map(d => [d.status, ...d.commands])
  expect(started, `killed at ${dieAt}`).toEqual([
    ['finished_successful', 'start'],
    ['finished_with_errors', 'start'],
    ['finished_with_errors', 'start'],
  ])
  // Only of a package whose key was lost nobody can say whose it is: it stays saved, and does nothing.
  expect(
    made.filter(d => d.startedOn === null && !d.binary),
    `killed at ${dieAt}`,
  ).toEqual([])
  expect(shop.lifetime.environment('Production').maintenance).toBe(false)
  return died > 0
}

it('C16: killed at any point of a run down the ladder, it ends as if it had not been, and starts nothing twice', {
  timeout: 600_000,
}, async () => {
  // Keys are the same in every LifeTime of these tests.
  await using shop = await Shop.open()
  const pin = await shop.captured(MORE)
  let kills = 0
  while (await through(1 + kills * EVERY, pin)) kills++
  expect(kills).toBeGreaterThan(20)
})
