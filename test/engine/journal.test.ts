import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, describe, expect, it } from 'vitest'
import type { Clock } from '../../src/core/clock.ts'
import type { Event } from '../../src/core/engine.ts'
import { firstBreak } from '../../src/engine/chain.ts'
import { Runtime } from '../../src/engine/runtime.ts'
import { lockOwner, takeLock } from '../../src/engine/sqlite/lock.ts'
import { sqliteStore } from '../../src/engine/sqlite/store.ts'
import { fastClock, until } from '../support/rollback.ts'

const key = Buffer.alloc(32, 7)
const FIXTURE = join(import.meta.dirname, 'process.fixture.ts')
const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
})

function folder(): string {
  const dir = mkdtempSync(join(tmpdir(), 'backout-journal-'))
  cleanups.push(() => rm(dir, { recursive: true, force: true }))
  return dir
}

function openStore(home: string, fileSystem?: (dir: string) => number) {
  const store = sqliteStore({ home, key, ...(fileSystem === undefined ? {} : { fileSystem }) })
  cleanups.push(() => store.close().catch(() => {}))
  return store
}

async function engineOn(home: string, clock?: Clock): Promise<Runtime> {
  const engine = new Runtime(sqliteStore({ home, key }), { pollMs: 5, ...(clock === undefined ? {} : { clock }) })
  await engine.open({ worker: true })
  cleanups.push(() => engine.close())
  return engine
}

/** Another process; resolves with it once it has said its first line. */
async function other(home: string, what: string, file = ''): Promise<{ child: ChildProcess; said: string }> {
  const child = spawn(process.execPath, [FIXTURE, home, what, file], { stdio: ['ignore', 'pipe', 'inherit'] })
  cleanups.push(() => child.kill('SIGKILL'))
  const [line] = (await once(child.stdout, 'data')) as [Buffer]
  return { child, said: line.toString().trim() }
}

const eventsOf = (home: string): Event[] => {
  const store = openStore(home)
  return store.events({ run: null, after: 0, limit: 10_000 })
}

describe('C16: a journal that is not as it should be', () => {
  it.each(['3', '99', 'two'])(
    'of format %s was written by a newer Backout: refused and left as it is',
    async format => {
      const home = folder()
      await openStore(home).close()
      const db = new DatabaseSync(join(home, 'journal.db'))
      db.exec(`UPDATE meta SET value = '${format}'; DROP TABLE signals; PRAGMA journal_mode = DELETE`)
      db.close()
      const before = readFileSync(join(home, 'journal.db'))
      expect(() => openStore(home)).toThrowError(expect.objectContaining({ code: 'journal_newer', exit: 'blocked' }))
      expect(readFileSync(join(home, 'journal.db')).equals(before)).toBe(true)
    },
  )

  it('of the format before is brought to this one, and what it holds is gone on with', async () => {
    const home = folder()
    const first = openStore(home)
    await first.write(tx => void tx.addEvent({ run: 'r1', at: '', type: 'said', data: 1 }))
    await first.close()
    const db = new DatabaseSync(join(home, 'journal.db'))
    db.exec(`UPDATE meta SET value = '1'; DROP TABLE calls;
      ALTER TABLE events DROP COLUMN op_run; ALTER TABLE events DROP COLUMN op_key;
      CREATE TABLE ops (
        root TEXT NOT NULL, run TEXT NOT NULL, key TEXT NOT NULL, done INTEGER NOT NULL,
        value TEXT NOT NULL, error TEXT, handle TEXT, PRIMARY KEY (root, run, key)
      ) STRICT, WITHOUT ROWID;
      CREATE INDEX runs_by_root ON runs(root);
      INSERT INTO ops VALUES ('r1', 'r1', 'b', 1, '7', NULL, NULL), ('r1', 'r1', 'a', 0, 'null', NULL, '{"pid":1}');
      INSERT INTO runs VALUES
        ('r1', 'r1', 'w', 1, NULL, 'running', 'null', NULL, NULL, '', ''),
        ('r1/x', 'r1', 'v', 1, NULL, 'succeeded', 'null', '{"so":1}', NULL, '', ''),
        ('r1/y', 'r1', 'v', 1, NULL, 'failed', 'null', NULL, 'it broke', '', ''),
        ('r1/z', 'r1', 'v', 1, NULL, 'running', 'null', NULL, NULL, '', '')`)
    db.close()
    const now = openStore(home)
    const call = { run: 'r1/child', key: 'told' }
    await now.write(tx => void tx.addEvent({ run: 'r1', at: '', type: 'said', data: 2 }, call))
    const op = { root: 'r1', run: 'r1', done: true, value: null, error: null, handle: null }
    expect(now.load('r1')).toEqual([
      { ...op, key: 'a', done: false, handle: { pid: 1 } },
      { ...op, key: 'b', value: 7 },
      { ...op, run: 'r1/x', key: 'ended', value: { ok: true, value: { so: 1 } } },
      { ...op, run: 'r1/y', key: 'ended', value: { ok: false, error: 'it broke' } },
      { ...op, ...call },
    ])
    expect(now.runs({}).map(r => r.id)).toEqual(['r1'])
    expect(eventsOf(home).map(e => e.data)).toEqual([1, 2])
    expect(firstBreak(key, eventsOf(home))).toBeNull()
    expect(openStore(home).events({ run: 'r1', after: 0, limit: 9 })).toHaveLength(2)
  })

  it.each([
    ['is no database', (file: string) => writeFileSync(file, 'not a database, '.repeat(500))],
    [
      'lost its head',
      (file: string) => writeFileSync(file, Buffer.concat([Buffer.alloc(100), readFileSync(file).subarray(100)])),
    ],
    ['is cut', (file: string) => truncateSync(file, 5000)],
    ['has a page of nonsense', (file: string) => overwrite(file, 4096)],
  ])('is not worked with where it %s', async (_, harm) => {
    const home = folder()
    const store = openStore(home)
    for (let i = 0; i < 50; i++) await store.write(tx => void tx.addEvent({ run: '-', at: '', type: 'said', data: i }))
    await store.close()
    harm(join(home, 'journal.db'))
    const use = () => {
      const broken = openStore(home)
      broken.runs({})
      broken.load('r1')
      return firstBreak(key, broken.events({ run: null, after: 0, limit: 1000 })) ?? broken.head()
    }
    expect(use).toThrowError(expect.objectContaining({ code: 'journal_unreadable', exit: 'failed' }))
  })

  // Only root may mount a small disk.
  describe.skipIf(process.getuid?.() !== 0)('on a disk of its own', () => {
    async function onDisk(): Promise<string> {
      const home = folder()
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', home])
      cleanups.push(() => execFileSync('umount', [home]))
      const store = openStore(home)
      await store.write(tx => void tx.addEvent({ run: '-', at: '', type: 'said', data: 1 }))
      await store.close()
      return home
    }
    const refused = (cause: string, next: string) =>
      expect.objectContaining({
        code: 'journal_unreadable',
        why: expect.stringContaining(cause),
        next: expect.stringContaining(next),
      })

    it('that is full is not called broken, also where it is only to be read', async () => {
      const home = await onDisk()
      expect(() => writeFileSync(join(home, 'big'), Buffer.alloc(2 ** 20))).toThrow('ENOSPC')
      expect(() => openStore(home)).toThrowError(refused('no room is left', 'make room'))
      rmSync(join(home, 'big'))
      expect(openStore(home).head().length).toBe(1)
    })

    it('that may only be read says who can', async () => {
      const home = await onDisk()
      execFileSync('mount', ['-o', 'remount,ro', home])
      expect(() => openStore(home)).toThrowError(refused('mounted read-only', 'run as the user who owns'))
    })
  })

  it('with a plan of nonsense lists all runs, and says so where that one is asked for what it is', async () => {
    const home = folder()
    const engine = await engineOn(home)
    engine.define('say', 1, async (_, input) => input)
    for (const id of ['r1', 'r2']) {
      await engine.start('say', id, { said: id })
      expect((await engine.settled(id)).output).toEqual({ said: id })
    }
    const db = new DatabaseSync(join(home, 'journal.db'))
    db.exec(`UPDATE runs SET input = '{"said' WHERE id = 'r1'`)
    db.close()
    const [first, second] = openStore(home).runs({})
    expect([first?.state, second?.input]).toEqual(['succeeded', { said: 'r2' }])
    expect(() => first?.input).toThrowError(expect.objectContaining({ code: 'journal_unreadable' }))
  })

  it('lists runs in the order in which they began, though the clock was set back between them', async () => {
    let now = Date.parse('2026-03-01T10:00:00Z')
    const engine = await engineOn(folder(), { ...fastClock(), now: () => now })
    engine.define('w', 1, async () => null)
    for (const id of ['r2', 'r1', 'r3']) {
      await engine.start('w', id, null, { exclusive: 'env' })
      await engine.settled(id)
      now -= 7_200_000
    }
    expect((await engine.list({ exclusive: 'env' })).map(run => run.id)).toEqual(['r2', 'r1', 'r3'])
  })

  it('cut in the middle of a write has everything before that write, unbroken', async () => {
    const home = folder()
    const store = openStore(home)
    for (let i = 0; i < 30; i++) await store.write(tx => void tx.addEvent({ run: '-', at: '', type: 'said', data: i }))
    const wal = readFileSync(join(home, 'journal.db-wal'))
    const lengths: number[] = []
    for (let cut = 0; cut <= wal.length; cut += Math.floor(wal.length / 23)) {
      const copy = folder()
      copyFileSync(join(home, 'journal.db'), join(copy, 'journal.db'))
      writeFileSync(join(copy, 'journal.db-wal'), wal.subarray(0, cut))
      const events = eventsOf(copy)
      expect(firstBreak(key, events)).toBeNull()
      lengths.push(events.length)
    }
    expect(lengths).toEqual(lengths.toSorted((a, b) => a - b))
    expect(lengths.at(-1)).toBeGreaterThan(20)
    expect(lengths[0]).toBe(0)
  })

  it('that is full stops the run before it touches anything, and it goes on once there is room', async () => {
    const home = folder()
    await openStore(home).close()
    const file = join(home, 'effects')
    // No file of this process may grow over 300 KiB; the signal that would end it is ignored.
    const line = `trap '' XFSZ; ulimit -f 300; exec '${process.execPath}' '${FIXTURE}' '${home}' steps '${file}'`
    const said = execFileSync('bash', ['-c', line], { encoding: 'utf8' })
    expect(said).toMatch(/^journal_failed /)
    const effects = readFileSync(file, 'utf8').trim().split('\n').map(Number)
    const ops = openStore(home).load('r1')
    const intents = ops.filter(o => o.key.endsWith('?') && o.done).length
    expect(effects.length).toBeGreaterThan(5)
    expect(effects).toEqual(effects.map((_, i) => i))
    expect(effects.length).toBeLessThanOrEqual(intents)
    const engine = await engineOn(home)
    const again: string[] = []
    engine.define('w', 1, async ctx => {
      for (let i = 0; i < effects.length + 2; i++) {
        await ctx.run(`${i}?`, async () => (again.push(`${i}?`), null))
        await ctx.run(`${i}`, async () => (again.push(`${i}`), null))
      }
      return null
    })
    await engine.start('w', 'r1', null, { exclusive: 'env' })
    expect((await engine.settled('r1')).state).toBe('succeeded')
    expect(again.length).toBeGreaterThan(0)
    expect(again.length).toBeLessThan(8)
  })
})

describe('C16: a home that cannot be relied on', () => {
  it.each([
    [0x6969, 'NFS'],
    [-11_317_950, 'CIFS'],
    [0xff534d42, 'CIFS'],
    [0x65735546, 'FUSE'],
  ])('of file system %i (%s) is refused', async (type, name) => {
    const home = folder()
    expect(() => openStore(home, () => type)).toThrowError(
      expect.objectContaining({ code: 'home_on_network', message: expect.stringContaining(name) as string }),
    )
    expect(() => openStore(home, () => 0xef53)).not.toThrow()
  })

  it('says so where its lock cannot be taken at all, and blames nobody', () => {
    const home = folder()
    writeFileSync(join(home, 'locks'), '')
    expect(() => takeLock(join(home, 'locks'), 'env', 'r1')).toThrowError(
      expect.objectContaining({ code: 'lock_unusable', exit: 'failed' }),
    )
    mkdirSync(join(home, 'ok'))
    const held = takeLock(join(home, 'ok'), 'env', 'r1')
    writeFileSync(join(home, 'ok', 'env.json'), '{"pid":')
    try {
      takeLock(join(home, 'ok'), 'env', 'r2')
      expect.unreachable()
    } catch (error) {
      expect((error as { next: string }).next).toBe('backout status')
    }
    held.release()
  })
})

describe('C16: two processes on one home', () => {
  it('write one chain without a gap', async () => {
    const home = folder()
    await openStore(home).close()
    const both = await Promise.all([other(home, 'write'), other(home, 'write'), other(home, 'write')])
    expect(both.map(b => b.said)).toEqual(['wrote', 'wrote', 'wrote'])
    const events = eventsOf(home)
    expect(events).toHaveLength(300)
    expect(new Set(events.map(e => (e.data as { pid: number }).pid)).size).toBe(3)
    expect(firstBreak(key, events)).toBeNull()
  })

  it('own an environment one at a time: stopped is not dead, killed is', async () => {
    const home = folder()
    const { child, said } = await other(home, 'own')
    expect(said).toBe('owns it')
    child.kill('SIGSTOP')
    const engine = await engineOn(home)
    engine.define('w', 1, async ctx => (await ctx.wait('go', ['go'], Infinity, 'waiting'))?.value ?? null)
    const start = (id: string) => engine.start('w', id, null, { exclusive: 'env' })
    for (const id of ['r1', 'r2']) {
      await expect(start(id)).rejects.toMatchObject({
        code: 'environment_busy',
        message: expect.stringContaining(`process ${child.pid} `) as string,
      })
    }
    expect(lockOwner(join(home, 'locks'), 'env')).toMatchObject({ pid: child.pid, run: 'r1' })
    child.kill('SIGKILL')
    await once(child, 'exit')
    expect(lockOwner(join(home, 'locks'), 'env')).toBeNull()
    await start('r1')
    await engine.signal('r1', 'go', 'on', 'idem')
    expect(await engine.settled('r1')).toMatchObject({ state: 'succeeded', output: 'on' })
  })

  it('are not refused because a third one only looks', async () => {
    const home = folder()
    takeLock(join(home, 'locks'), 'env', 'r0').release()
    await other(home, 'look')
    for (let i = 0; i < 100; i++) takeLock(join(home, 'locks'), 'env', `r${i}`).release()
    expect(lockOwner(join(home, 'locks'), 'env')).toBeNull()
  })

  it('see what the other one writes, live, until the run ends', async () => {
    const home = folder()
    const [worker, watcher] = [await engineOn(home), await engineOn(home)]
    worker.define('w', 1, async ctx => {
      ctx.tell('1', 'said', 1)
      await ctx.wait('go', ['go'], Infinity, 'waiting')
      ctx.tell('2', 'said', 2)
      return null
    })
    await worker.start('w', 'r1', null)
    const seen: string[] = []
    const watching = (async () => {
      for await (const event of watcher.events('r1', { follow: true })) seen.push(event.type)
    })()
    await until(() => seen.includes('run-state'))
    await watcher.signal('r1', 'go', null, 'idem')
    await watching
    expect(seen.filter(type => type !== 'run-state')).toEqual(['run-started', 'said', 'signal', 'said', 'run-ended'])
    const after: Event[] = []
    for await (const event of watcher.events('r1', { after: 3 })) after.push(event)
    expect(after.map(e => e.seq)).toEqual(after.map((_, i) => i + 4))
  })
})

describe('C16: a wait', () => {
  const waiting = async (home: string, clock: Clock) => {
    const engine = await engineOn(home, clock)
    engine.define('w', 1, async ctx => (await ctx.wait('pause', ['go'], 100_000)) === null)
    await engine.start('w', 'r1', null)
    return engine
  }

  it.each([
    ['back by a day', -86_400_000, 75_000, 300_000],
    ['forth by a day', 86_400_000, -1, 50_000],
  ])('over a crash is as long as it was when the clock is set %s', async (_, shift, least, most) => {
    const home = folder()
    const real = fastClock(50)
    const first = await waiting(home, real)
    await until(() => openStore(home).load('r1').length > 0)
    await first.close()
    const began = real.mono()
    const second = await waiting(home, { ...real, now: () => real.now() + shift })
    expect((await second.settled('r1')).output).toBe(true)
    expect(real.mono() - began).toBeGreaterThan(least)
    expect(real.mono() - began).toBeLessThan(most)
  })
})

function overwrite(file: string, from: number): void {
  const content = readFileSync(file)
  content.fill(0xa5, from)
  writeFileSync(file, content)
}
