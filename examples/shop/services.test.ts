import { execFile, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { isAlive, signal, until } from './lib/processes.ts'
import { pidOfService } from './lib/services.ts'
import { inFolder } from './lib/testing.ts'
import { buildWorld, OLD, type World } from './world.ts'

const GONE_MS = 10_000

describe('bin/service', () => {
  let root: string
  let world: World
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'shop-'))
    world = await buildWorld(root)
  })
  afterAll(async () => {
    await world.teardown()
    await rm(root, { recursive: true })
  })

  function service(...words: string[]): Promise<{ code: number; out: string }> {
    return new Promise(resolve => {
      const child = execFile(world.paths.service, words, (_, stdout, stderr) =>
        resolve({ code: child.exitCode ?? -1, out: `${stdout}${stderr}`.trim() }),
      )
    })
  }

  it('tells running from stopped by its exit code, and the version by the process', async () => {
    expect(await service('status', 'a')).toEqual({ code: 0, out: `running (${pidOfService(root, 'a')})` })
    expect(await service('version', 'a')).toEqual({ code: 0, out: OLD })
    expect(await service('stop', 'a')).toMatchObject({ code: 0 })
    expect(await service('status', 'a')).toEqual({ code: 3, out: 'stopped' })
    expect(await service('version', 'a')).toMatchObject({ code: 1 })
    expect(await service('start', 'a')).toMatchObject({ code: 0 })
    expect(await service('status', 'a')).toMatchObject({ code: 0 })
  })

  it('does nothing twice', async () => {
    const pid = pidOfService(root, 'a')
    const [first, second] = await Promise.all([service('start', 'a'), service('start', 'a')])
    expect([first.code, second.code]).toEqual([0, 0])
    expect(pidOfService(root, 'a')).toBe(pid)
    await service('stop', 'a')
    expect(await service('stop', 'a')).toMatchObject({ code: 0 })
    const both = await Promise.all([service('start', 'a'), service('start', 'a')])
    expect(both.map(({ code }) => code)).toEqual([0, 0])
    expect(world.pids()).toHaveLength(4)
  })

  it('starts what was killed, and does not take a stranger with the same process id for its own', async () => {
    signal(pidOfService(root, 'b') ?? 0, 'SIGKILL')
    expect(await until(() => pidOfService(root, 'b') === null, GONE_MS)).toBe(true)
    await writeFile(join(root, 'run', 'b.pid'), `${process.pid}\n`)
    expect(await service('status', 'b')).toEqual({ code: 3, out: 'stopped' })
    expect(await service('start', 'b')).toMatchObject({ code: 0 })
    expect(await service('version', 'b')).toEqual({ code: 0, out: OLD })
  })

  it('says what is wrong with a name or a verb that is not there', async () => {
    const unknown = await service('start', 'z')
    expect(unknown.code).toBe(1)
    expect(unknown.out).toContain('there is no service z')
    expect(await service('explode', 'a')).toMatchObject({ code: 2 })
  })
})

it('leaves nothing behind when whoever built the world is killed', () =>
  inFolder(async root => {
    const script = join(root, 'owner.ts')
    await writeFile(
      script,
      `import { buildWorld } from ${JSON.stringify(join(import.meta.dirname, 'world.ts'))}
       import { startLoad } from ${JSON.stringify(join(import.meta.dirname, 'load.ts'))}
       const world = await buildWorld(${JSON.stringify(join(root, 'world'))})
       const load = startLoad({ url: world.url })
       await load.snapshot()
       process.send?.([...world.pids(), load.pid])`,
    )
    const owner = fork(script, [], { execArgv: ['--disable-warning=ExperimentalWarning'] })
    const [pids] = (await once(owner, 'message')) as [number[]]
    expect(pids.filter(isAlive)).toHaveLength(5)
    owner.kill('SIGKILL')
    expect(await until(() => !pids.some(isAlive), GONE_MS)).toBe(true)
  }))
