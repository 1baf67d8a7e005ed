import { readdirSync } from 'node:fs'
import { cp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Plan } from '../../src/core/plan.ts'
import type { Report } from '../../src/report/model.ts'
import { makeToy, type Toy } from '../support/toy.ts'

let toy: Toy
afterEach(() => toy[Symbol.asyncDispose]())

interface Listed {
  readonly name: string
  readonly state: string
  readonly altered: readonly string[]
}

/** Codes of a plan's findings of that level. */
function codes(plan: Plan, level: string): string[] {
  return plan.findings.filter(f => f.level === level).map(f => f.code)
}

describe('A3: two environments in one home', () => {
  const there = ['--config', 'staging/backout.yaml']

  beforeEach(async () => {
    toy = await makeToy()
    const staging = join(toy.folder, 'staging')
    for (const name of ['app', 'db']) await cp(join(toy.folder, name), join(staging, name))
    const yaml = await toy.read('backout.yaml')
    await toy.write('staging/backout.yaml', yaml.replace('environment: toy', 'environment: staging\nhome: ../.backout'))
  })

  const release = async (at: string, version: string) => {
    for (const name of ['app', 'db']) await toy.write(join(at, name), `${version}\n`)
  }

  it('have releases, marks, upgrades and runs of their own, whatever they are called', async () => {
    expect((await toy.backout(['capture', 'v1', '--known-good'])).code).toBe(0)
    expect(await toy.json<Listed[]>([...there, 'releases'])).toEqual([])
    expect((await toy.backout([...there, 'capture', 'v1'])).code).toBe(0)
    expect((await toy.backout([...there, 'release', 'mark', 'v1', 'bad', '--why', 'staging is odd'])).code).toBe(0)
    expect((await toy.backout([...there, 'upgrade', 'begin', 'v7', '--from', 'v1.staging'])).code).toBe(0)
    await release('.', 'v2')
    await release('staging', 'v7')

    const plan = await toy.json<Plan>(['plan'])
    expect(plan).toMatchObject({ environment: 'toy', from: null, to: { release: 'v1' } })
    expect(codes(plan, 'blocker')).toEqual([])
    expect(codes(plan, 'warning')).not.toContain('upgrade_open')
    const other = await toy.json<Plan>([...there, 'plan', '--to', 'v1'])
    expect(other).toMatchObject({ environment: 'staging', from: 'v7' })
    expect(codes(other, 'blocker')).toContain('release_bad')

    expect((await toy.backout(['run', '--yes'])).code).toBe(0)
    expect(await toy.versions()).toEqual(['v1', 'v1'])
    expect((await toy.read('staging/app')).trim()).toBe('v7')
    const report = await toy.json<Report>(['report'])
    expect(JSON.stringify(report)).not.toContain('staging')
    expect((await toy.json<{ run: null }>([...there, 'status'])).run).toBeNull()
    expect((await toy.backout([...there, 'run', '--to', 'v1.staging', '--yes'])).code).toBe(0)
    expect((await toy.read('staging/app')).trim()).toBe('v1')
    expect((await toy.backout(['audit', 'verify'])).code).toBe(0)
  })
})

describe('E7: a ledger that was altered', () => {
  const home = '.backout/environments/toy/releases'

  beforeEach(async () => {
    toy = await makeToy()
    for (const version of ['v1', 'v2']) {
      await toy.release(version)
      expect((await toy.backout(['capture', version, '--known-good'])).code).toBe(0)
    }
    await toy.release('v3')
  })

  const edit = async (file: string, from: string, to: string) =>
    toy.write(file, (await toy.read(file)).replaceAll(from, to))

  it('in one capture hides no other release: it is passed over, and every plan says so', async () => {
    const [name = ''] = readdirSync(join(toy.folder, home, 'v2/captures'))
    await edit(`${home}/v2/captures/${name}`, '"v2"', '"v9"')
    const listed = await toy.json<Listed[]>(['releases'])
    expect(Object.fromEntries(listed.map(r => [r.name, r.altered.length]))).toEqual({ v1: 0, v2: 1 })
    const said = await toy.backout(['releases'])
    expect(said.stdout).toMatch(/v2 +ALTERED/)
    expect(said.stderr).toContain('v2 is not gone back to')
    const plan = await toy.json<Plan>(['plan'])
    expect(plan.to.release).toBe('v1')
    expect(codes(plan, 'warning')).toContain('release_altered')
    expect((await toy.backout(['plan', '--to', 'v2'])).code).toBe(11)
    expect((await toy.backout(['run', '--yes'])).code).toBe(0)
    expect(await toy.versions()).toEqual(['v1', 'v1'])
  })

  it('in what was said of a release is not believed, until somebody says it again', async () => {
    expect((await toy.backout(['release', 'mark', 'v2', 'bad', '--why', 'loses orders'])).code).toBe(0)
    await edit(`${home}/v2/marks.json`, '"bad"', '"known-good"')
    expect((await toy.json<Plan>(['plan'])).to.release).toBe('v1')
    const named = await toy.backout(['plan', '--to', 'v2'])
    expect(named.code).toBe(11)
    expect(named.stderr).toContain('error [ledger_altered]')
    expect(named.stderr).toContain('backout release mark')
    expect((await toy.backout(['release', 'mark', 'v2', 'known-good', '--why', 'looked'])).code).toBe(0)
    expect((await toy.json<Plan>(['plan'])).to.release).toBe('v2')
  })

  it('in its upgrades stops a plan, for it would go to another capture', async () => {
    expect((await toy.backout(['upgrade', 'begin', 'v3', '--from', 'v2'])).code).toBe(0)
    await edit('.backout/environments/toy/upgrades.json', '"v2"', '"v1"')
    const planned = await toy.backout(['plan'])
    expect(planned.code).toBe(11)
    expect(planned.stderr).toContain('upgrades.json')
    await rm(join(toy.folder, '.backout/environments/toy/upgrades.json'))
    expect((await toy.backout(['plan'])).code).toBe(0)
  })
})
