import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { folder, setClock } from '../../test/support/ledger.ts'
import { BUCKET, KEY, type S3Server, s3Server } from '../../test/support/s3.ts'
import type { Clock } from '../core/clock.ts'
import type { BackupAbout } from '../core/contract.ts'
import { Secret } from '../core/secret.ts'
import { BackupStorage } from './backup-storage.ts'
import { FileBackups } from './backups.ts'
import { S3Files } from './s3.ts'
import { SealedFiles } from './sealed-file.ts'

const ABOUT: BackupAbout = { component: 'db', reason: 'capture', release: 'v1' }
const PART = 5 * 1_048_576
const SECRET = new Secret('${env:S3_SECRET}', KEY)

let s3: S3Server
beforeAll(async () => {
  s3 = await s3Server()
})
afterAll(() => s3?.dispose())

/** Waits for nobody: what is tried again is tried at once. */
const hasty = (clock: Clock): Clock => ({ ...clock, sleep: async () => {} })

function catalogue({ keepLocal = 1, secret = SECRET, key = KEY, bucket = BUCKET, endpoint = s3.endpoint } = {}) {
  const home = folder()
  const clock = setClock('2026-01-02T03:04:05.678Z')
  const settings = { endpoint, region: 'us-east-1', bucket, prefix: 'ops/', accessKey: key, secretKey: secret }
  const files = new S3Files(settings, hasty(clock), PART)
  const sealed = new SealedFiles(Buffer.alloc(32, 7))
  const environment = `e${home.slice(-6)}`
  const storage = new BackupStorage(files, environment, keepLocal)
  const backups = new FileBackups(home, environment, clock, sealed, storage)
  /** The same home, where nobody names the storage any more. */
  const without = new FileBackups(home, environment, clock, sealed)
  return { home, clock, files, backups, without, environment }
}

const SMALL = Buffer.from('all of the data')
/** Goes in three parts. */
const BIG = Buffer.alloc(PART * 2 + 1000, 'abcdefgh')

async function made({ backups, clock }: ReturnType<typeof catalogue>, about: BackupAbout = ABOUT, content = SMALL) {
  clock.set(new Date(clock.now() + 1000).toISOString())
  const draft = await backups.begin(about)
  mkdirSync(join(draft.dir, 'deep'))
  writeFileSync(join(draft.dir, 'dump.zst'), content)
  writeFileSync(join(draft.dir, 'deep', "ümlaut & 'blank'"), 'x')
  return draft.seal({ rows: 3 })
}

const localFiles = (dir: string) =>
  readdirSync(dir, { recursive: true, withFileTypes: true }).flatMap(f => (f.isFile() ? [f.name] : []))

/** What the server has, its own notes left out. */
async function objects(c: ReturnType<typeof catalogue>): Promise<string[]> {
  const root = join(s3.data, BUCKET, 'ops', c.environment)
  const all = await readdir(root, { recursive: true, withFileTypes: true }).catch(() => [])
  return all.filter(f => f.isFile() && f.name.endsWith('_object')).map(f => join(f.parentPath, f.name))
}

describe('A1: backups in an S3-compatible storage', () => {
  it('go there in parts, leave the home when newer ones come, and come back as they were', async () => {
    const c = catalogue()
    const first = await made(c, ABOUT, BIG)
    expect(Object.keys(first.held ?? {}).sort()).toEqual(["deep/ümlaut & 'blank'", 'dump.zst'])
    expect(await objects(c)).toHaveLength(2)
    expect(localFiles(first.dir)).toContain('dump.zst')
    await made(c)
    expect(localFiles(first.dir)).toEqual(['backup.json'])
    expect(await c.backups.look(first.id)).toEqual([])
    expect(localFiles(first.dir)).toEqual(['backup.json'])
    expect(await c.backups.check(first.id)).toEqual([])
    expect(readFileSync(join(first.dir, 'dump.zst')).equals(BIG)).toBe(true)
    expect(readFileSync(join(first.dir, 'deep', "ümlaut & 'blank'"), 'utf8')).toBe('x')
    expect(await c.without.check(first.id)).toEqual([])
  })

  it('is removed with its copies, and not without them', async () => {
    const c = catalogue()
    const backup = await made(c)
    await expect(c.without.remove(backup.id)).rejects.toMatchObject({ code: 'storage_unset' })
    await c.backups.remove(backup.id)
    expect([existsSync(backup.dir), await objects(c), await c.backups.list('db')]).toEqual([false, [], []])
  })

  it.each([
    [
      'a wrong secret',
      () => ({ secret: new Secret('${env:S3_SECRET}', 'not-the-secret') }),
      'storage_denied',
      'SignatureDoesNotMatch',
    ],
    ['an unknown key', () => ({ key: 'nobody' }), 'storage_denied', 'InvalidAccessKeyId'],
    ['no such bucket', () => ({ bucket: 'nowhere' }), 'storage_refused', 'NoSuchBucket'],
    ['nobody there', () => ({ endpoint: 'http://127.0.0.1:9' }), 'storage_unreachable', undefined],
  ])('%s: it is no backup, and no secret is told', async (_, wrong, code, why) => {
    const c = catalogue(wrong())
    const error = (await made(c).catch((e: unknown) => e)) as Error & { why?: string }
    expect(error).toMatchObject({ code, ...(why === undefined ? {} : { why }) })
    expect(inspect(error, { depth: 9 })).not.toContain('not-the-secret')
    expect(await c.backups.list('db')).toEqual([])
    await expect(c.files.ready()).rejects.toMatchObject({ code })
  })

  it('does not hold a rollback up: its backup stays in the home, and is copied with the next one', async () => {
    const c = catalogue()
    s3.cutAfter(0)
    const backup = await made(c, { ...ABOUT, reason: 'pre-rollback' })
    s3.cutAfter(null)
    expect([backup.held, await c.backups.check(backup.id)]).toEqual([undefined, []])
    await made(c)
    expect(Object.keys((await c.backups.get(backup.id)).held ?? {})).toHaveLength(2)
    expect(await c.backups.look(backup.id)).toEqual([])
  })
})

describe('A1: a storage that fails in the middle', () => {
  let c: ReturnType<typeof catalogue>
  beforeEach(() => {
    c = catalogue()
    return () => {
      s3.cutAfter(null)
      s3.cutAnswers(null)
    }
  })

  it('of an upload: it is no backup, there is no object of it, and the next try makes one', async () => {
    s3.cutAfter(PART - 500_000)
    await expect(made(c, { ...ABOUT, idem: 'again' }, BIG)).rejects.toMatchObject({ code: 'storage_unreachable' })
    expect(await c.backups.list('db')).toEqual([])
    expect((await objects(c)).filter(o => o.includes('dump.zst'))).toEqual([])
    s3.cutAfter(null)
    const backup = await made(c, { ...ABOUT, idem: 'again' })
    expect(await c.backups.look(backup.id)).toEqual([])
  })

  it('of bringing one back: that is told, and nothing half is left where it is read', async () => {
    const backup = await made(c, ABOUT, BIG)
    await made(c)
    s3.cutAnswers(1_000_000)
    expect((await c.backups.check(backup.id)).join()).toMatch(/dump\.zst cannot be fetched from s3:/)
    expect(localFiles(backup.dir)).not.toContain('dump.zst')
    expect(localFiles(backup.dir).filter(f => f.endsWith('.part'))).toEqual([])
    s3.cutAnswers(null)
    expect(await c.backups.check(backup.id)).toEqual([])
  })

  it.each([
    ['altered', (content: Buffer) => Buffer.from(content).fill('z', 7, 8)],
    ['truncated', (content: Buffer) => content.subarray(0, content.length - 1)],
  ])('%s: an object that is not what was backed up is never taken for it', async (_, change) => {
    const backup = await made(c)
    await made(c)
    const other = catalogue()
    const file = join(other.home, 'changed')
    writeFileSync(file, change(SMALL))
    await c.files.put(`${c.environment}/db/${backup.id}/dump.zst`, file)
    const said = [expect.stringMatching(/^dump\.zst in s3:.* is not what was backed up$/)]
    expect(await c.backups.look(backup.id)).toEqual(said)
    expect(await c.backups.check(backup.id)).toEqual(said)
    expect(localFiles(backup.dir)).not.toContain('dump.zst')
  })

  it('gone: that is told', async () => {
    const backup = await made(c)
    await made(c)
    await c.files.remove(`${c.environment}/db/${backup.id}/dump.zst`)
    const said = [expect.stringMatching(/^dump\.zst is gone from s3:/)]
    expect([await c.backups.look(backup.id), await c.backups.check(backup.id)]).toEqual([said, said])
  })

  it('with rot where the server looks nowhere: the bytes that came are compared', async () => {
    const backup = await made(c)
    await made(c)
    const object = (await objects(c)).find(o => o.includes(backup.id) && o.includes('dump.zst')) ?? ''
    writeFileSync(object, 'all of the dat4')
    expect(await c.backups.check(backup.id)).toEqual([expect.stringContaining('is not what was backed up')])
  })
})
