import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Plan, planHash } from '../../src/core/plan.ts'
import { makeToy, type Toy } from '../support/toy.ts'

let toy: Toy
beforeEach(async () => void (toy = await makeToy()))
afterEach(() => toy[Symbol.asyncDispose]())

interface Input {
  plan: Plan
  by: string
}

/** As somebody with write access to the home, and without the chain key. */
function alter(sql: string, change: (input: Input) => void = () => {}): void {
  const db = new DatabaseSync(join(toy.folder, '.backout', 'journal.db'))
  try {
    const input = JSON.parse((db.prepare('SELECT input FROM runs').get() as { input: string }).input) as Input
    change(input)
    db.prepare(sql).run({ input: JSON.stringify(input) })
  } finally {
    db.close()
  }
}

function started(): unknown {
  const db = new DatabaseSync(join(toy.folder, '.backout', 'journal.db'), { readOnly: true })
  try {
    const { data } = db.prepare("SELECT data FROM events WHERE type = 'run-started'").get() as { data: string }
    return JSON.parse(data)
  } finally {
    db.close()
  }
}

async function run(from: string): Promise<number | null> {
  await toy.release(from)
  expect((await toy.backout(['capture', from, '--known-good'])).code).toBe(0)
  await toy.release('bad')
  return (await toy.backout(['run', '--yes', '--reason', 'it is bad'])).code
}

const tampered = (text: string) => ({ code: 11, stderr: expect.stringContaining(text) })

describe('E7: what the journal keeps of a run beside its events', () => {
  it('is told at its beginning and compared: an altered plan is not gone on with', async () => {
    expect(await run('v0')).toBe(5) // the gate wants v1
    const told = {
      by: expect.any(String),
      reason: 'it is bad',
      confirmed: '--yes',
      input: expect.stringMatching(/^[0-9a-f]{64}$/),
    }
    expect(started()).toMatchObject(told)
    alter('UPDATE runs SET input = $input', input => {
      const args = input.plan.steps['app/apply']?.args as { pin: { data: string } }
      args.pin.data = 'evil'
      input.plan = { ...input.plan, hash: planHash(input.plan) }
    })
    expect(await toy.backout(['resume'])).toMatchObject(tampered('run_altered'))
    expect(await toy.backout(['audit', 'verify'])).toMatchObject(tampered('is not what it was begun with'))
    expect(await toy.versions()).toEqual(['v0', 'v0'])
  })

  it('is compared once it has ended: who began it, and how it ended', async () => {
    expect(await run('v1')).toBe(0)
    expect(await toy.backout(['audit', 'verify'])).toMatchObject({ code: 0 })
    alter("UPDATE runs SET state = 'failed' WHERE $input <> ''")
    expect(await toy.backout(['audit', 'verify'])).toMatchObject(tampered('it is failed, and ended succeeded'))
    alter("UPDATE runs SET state = 'succeeded', output = '{}' WHERE $input <> ''")
    expect(await toy.backout(['audit', 'verify'])).toMatchObject(tampered('its output is not what it ended with'))
    alter('UPDATE runs SET input = $input', input => void (input.by = 'alice'))
    const report = await toy.backout(['report'])
    expect(report).toMatchObject(tampered('run_altered'))
    expect(report.stdout).not.toContain('alice')
  })
})
