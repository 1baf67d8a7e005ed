import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { folder, setClock } from '../../test/support/ledger.ts'
import type { BackupAbout } from '../core/contract.ts'
import { FileBackups } from './backups.ts'
import { SealedFiles } from './sealed-file.ts'

const KEY = Buffer.alloc(32, 7)
const ABOUT: BackupAbout = { component: 'db', reason: 'capture', release: 'v1' }

function catalogue() {
  const home = folder()
  const clock = setClock('2026-01-02T03:04:05.678Z')
  const root = join(home, 'backups')
  const again = (environment = 'production', chain = KEY) =>
    new FileBackups(home, environment, clock, new SealedFiles(chain))
  return { home, clock, root, backups: again(), again }
}

interface Kept {
  mac?: string
  content: { files: unknown[] }
}

function edit(file: string, change: (kept: Kept) => unknown): void {
  const kept = JSON.parse(readFileSync(file, 'utf8')) as Kept
  change(kept)
  writeFileSync(file, JSON.stringify(kept))
}

async function made(c: ReturnType<typeof catalogue>, about: BackupAbout = ABOUT, text = 'content') {
  const draft = await c.backups.begin(about)
  mkdirSync(join(draft.dir, 'deep', 'er'), { recursive: true })
  writeFileSync(join(draft.dir, 'dump.sql'), text)
  writeFileSync(join(draft.dir, 'deep', 'er', 'ümlaut und blank'), 'x')
  return draft.seal({ rows: 3 })
}

describe('A1: a backup', () => {
  it('has a time-stamped id, sizes and checksums, and is there for the next process', async () => {
    const c = catalogue()
    const backup = await made(c)
    expect(backup.id).toMatch(/^20260102T030405Z-db-[0-9a-f]{6}$/)
    expect(backup).toMatchObject({ ...ABOUT, idem: null, bytes: 8, facts: { rows: 3 }, proof: null })
    expect(backup.files.map(f => [f.path, f.bytes])).toEqual([
      ['deep/er/ümlaut und blank', 1],
      ['dump.sql', 7],
    ])
    expect(backup.files[1]?.sha256).toMatch(/^[0-9a-f]{64}$/)
    expect(await c.again().get(backup.id)).toEqual(backup)
    expect(await c.again().list('db')).toEqual([backup])
    expect(await c.again().check(backup.id)).toEqual([])
    expect(await c.again().list('other')).toEqual([])
  })

  it('of an empty database is a backup too', async () => {
    const c = catalogue()
    const draft = await c.backups.begin(ABOUT)
    expect(readdirSync(draft.dir)).toEqual([])
    expect(await c.backups.check((await draft.seal(null)).id)).toEqual([])
  })

  it('is none without its manifest', async () => {
    const c = catalogue()
    const draft = await c.backups.begin(ABOUT)
    writeFileSync(join(draft.dir, 'dump.sql'), 'half of')
    writeFileSync(join(draft.dir, 'backup.json.1234.new'), '{"id":')
    expect(await c.again().list('db')).toEqual([])
    const gone = { code: 'backup_gone', exit: 'blocked' }
    await expect(c.again().get(draft.id)).rejects.toMatchObject(gone)
    await expect(c.again().check(draft.id)).rejects.toMatchObject(gone)
    await draft.discard()
    expect(readdirSync(join(c.root, 'db'))).toEqual([])
  })

  it('that was altered, cut or lost files is found out, file by file', async () => {
    const c = catalogue()
    const backup = await made(c)
    appendFileSync(join(backup.dir, 'dump.sql'), '!')
    expect(await c.backups.check(backup.id)).toEqual(['dump.sql is not what was backed up'])
    rmSync(join(backup.dir, 'deep'), { recursive: true })
    writeFileSync(join(backup.dir, 'dump.sql'), '')
    expect(await c.backups.check(backup.id)).toEqual([
      'deep/er/ümlaut und blank is gone',
      'dump.sql is not what was backed up',
    ])
    const stop = new AbortController()
    stop.abort(new Error('enough'))
    await expect(c.backups.check(backup.id, stop.signal)).rejects.toThrow('enough')
  })

  it('with a manifest that cannot be read is said where it is asked for, and stops no other', async () => {
    const c = catalogue()
    const [bad, good] = [await made(c), await made(c)]
    writeFileSync(join(bad.dir, 'backup.json'), '{"id": "20')
    await expect(c.backups.get(bad.id)).rejects.toMatchObject({ code: 'ledger_unreadable' })
    expect((await c.backups.list('db')).map(b => b.id)).toEqual([good.id])
    expect((await made(c, { ...ABOUT, idem: 'r1.db' })).idem).toBe('r1.db')
  })

  it.each<[string, (file: string) => void]>([
    ['says that it was proven', file => edit(file, kept => Object.assign(kept.content, { proof: { ok: true } }))],
    ['has the checksum of other content', file => edit(file, kept => void kept.content.files.pop())],
    ['has no seal', file => edit(file, kept => void delete kept.mac)],
    ['was made up', file => writeFileSync(file, '{"id": "x", "component": "db", "files": []}')],
  ])('whose manifest %s makes no backup, and is said where it is asked for', async (_, harm) => {
    const c = catalogue()
    const [bad, good] = [await made(c), await made(c)]
    harm(join(bad.dir, 'backup.json'))
    const altered = { code: 'ledger_altered', exit: 'tampered' }
    await expect(c.again().get(bad.id)).rejects.toMatchObject(altered)
    await expect(c.again().check(bad.id)).rejects.toMatchObject(altered)
    expect((await c.again().list('db')).map(b => b.id)).toEqual([good.id])
  })

  it('is none under another name, of another component, environment or key', async () => {
    const c = catalogue()
    const { id, dir } = await made(c)
    await expect(c.again('staging').get(id)).rejects.toMatchObject({ code: 'ledger_altered' })
    await expect(c.again('production', Buffer.alloc(32, 8)).get(id)).rejects.toMatchObject({ code: 'ledger_altered' })
    for (const to of ['db2/' + id, 'db/' + id.replace('20260102', '20260103')]) {
      cpSync(dir, join(c.root, to), { recursive: true })
      expect(await c.again().list(to.split('/')[0] ?? '')).toHaveLength(to.startsWith('db/') ? 1 : 0)
    }
  })

  it('is listed newest first', async () => {
    const c = catalogue()
    const ids: string[] = []
    for (const at of ['2026-01-02T00:00:00Z', '2026-01-03T00:00:00Z', '2025-12-31T00:00:00Z']) {
      c.clock.set(at)
      ids.push((await made(c)).id)
    }
    expect((await c.backups.list('db')).map(b => b.id)).toEqual([ids[1], ids[0], ids[2]])
  })
})

describe('A2: the proof', () => {
  it('is kept with the backup, good or bad, and changes nothing of its content', async () => {
    const c = catalogue()
    const { id } = await made(c)
    for (const ok of [true, false]) {
      const proof = { at: '2026-01-02T03:05:00.000Z', ms: 12, ok, differences: ok ? [] : ['orders: 3 rows, not 4'] }
      expect((await c.backups.recordProof(id, proof)).proof).toEqual(proof)
      expect((await c.again().get(id)).proof).toEqual(proof)
    }
    expect(await c.backups.check(id)).toEqual([])
  })
})

describe('C3: a backup that is made again after a crash', () => {
  const about = { ...ABOUT, reason: 'pre-rollback', idem: 'r1.db.backup' } as const

  it('is the same one, not a second: where it was complete', async () => {
    const c = catalogue()
    const one = await made(c, about)
    c.clock.set('2026-01-02T04:00:00Z')
    const two = await made({ ...c, backups: c.again() }, about, 'other content')
    expect(two.id).toBe(one.id)
    expect(readFileSync(join(two.dir, 'dump.sql'), 'utf8')).toBe('other content')
    expect(await c.backups.list('db')).toHaveLength(1)
    expect(await c.backups.check(two.id)).toEqual([])
  })

  it('and where it was not: nothing half is left lying about', async () => {
    const c = catalogue()
    const half = await c.backups.begin(about)
    writeFileSync(join(half.dir, 'dump.sql.part'), 'half of')
    c.clock.set('2026-01-02T04:00:00Z')
    const backup = await made({ ...c, backups: c.again() }, about)
    expect(backup.id).toBe(half.id)
    expect(backup.files.map(f => f.path)).not.toContain('dump.sql.part')
    expect(readdirSync(join(c.root, 'db'))).toEqual([backup.id])
  })

  it('is not that of another run, another component, or of none', async () => {
    const c = catalogue()
    const ids = [
      (await made(c, about)).id,
      (await made(c, { ...about, idem: 'r2.db.backup' })).id,
      (await made(c, { ...about, component: 'db2' })).id,
      (await made(c)).id,
      (await made(c)).id,
    ]
    expect(new Set(ids).size).toBe(5)
  })

  it('leaves nothing where it is given up', async () => {
    const c = catalogue()
    const draft = await c.backups.begin(about)
    await draft.discard()
    await draft.discard()
    expect(readdirSync(join(c.root, 'db'))).toEqual([])
    expect(existsSync(draft.dir)).toBe(false)
  })
})
