import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { folder, setClock } from '../../test/support/ledger.ts'
import { alone } from './alone.ts'
import { Releases } from './releases.ts'

const started: ChildProcess[] = []
afterEach(() => {
  for (const child of started.splice(0)) child.kill('SIGKILL')
})

function another(dir: string, ...argv: string[]): ChildProcess {
  const script = join(import.meta.dirname, 'alone.fixture.ts')
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', script, dir, ...argv])
  started.push(child)
  return child
}

async function holder(dir: string): Promise<ChildProcess> {
  const child = another(dir, 'hold')
  await once(child.stdout ?? child, 'data')
  return child
}

/** A clock on which a second passes in a millisecond. */
function hasty() {
  let now = 0
  return { ...setClock(), mono: () => now, sleep: async (ms: number) => void (now += ms * 10) }
}

describe('A3: several processes on one ledger', () => {
  it('lose no mark and no upgrade', async () => {
    const dir = folder()
    const names = ['a', 'b', 'c']
    const ended = names.map(name => once(another(dir, 'say', name), 'exit'))
    for (const [code] of await Promise.all(ended)) expect(code).toBe(0)
    const releases = new Releases(dir, 'production', setClock(), Buffer.alloc(32, 7))
    await releases.add({
      release: 'v1',
      environment: 'production',
      purpose: 'release',
      commit: null,
      components: {},
      backups: [],
      baseline: [],
    })
    const { marks } = await releases.get('v1')
    const all = names.flatMap(name => Array.from({ length: 10 }, (_, i) => `${name} ${i}`))
    expect(marks.map(m => m.why ?? '').toSorted()).toEqual(all.toSorted())
    expect((await releases.upgrades()).map(u => u.id.replace('-', ' ')).toSorted()).toEqual(all.toSorted())
  })

  it('wait for one another, and do not wait for a dead one', async () => {
    const dir = folder()
    const other = await holder(dir)
    let mine = false
    const waiting = alone(dir, async () => void (mine = true))
    await new Promise(resolve => setTimeout(resolve, 200))
    expect(mine).toBe(false)
    other.kill('SIGKILL')
    await waiting
    expect(mine).toBe(true)
  })

  it('say where one is stopped, and do nothing', async () => {
    const dir = folder()
    const other = await holder(dir)
    other.kill('SIGSTOP')
    const work = alone(dir, () => Promise.reject(new Error('it was done')), hasty())
    await expect(work).rejects.toMatchObject({ code: 'ledger_busy', exit: 'busy' })
  })

  it('leave it free behind them, whatever became of their work', async () => {
    const dir = folder()
    await expect(alone(dir, () => Promise.reject(new Error('disk full')))).rejects.toThrow('disk full')
    expect(await alone(dir, async () => 'free')).toBe('free')
  })
})
