import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { Decrypter, Encrypter, generateIdentity, identityToRecipient } from 'age-encryption'
import { extract, type Header, pack } from 'tar-stream'
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../core/clock.ts'
import type { Sealed } from '../core/contract.ts'
import { BackoutError } from '../core/errors.ts'
import type { Json } from '../core/json.ts'
import { type Ledger, openLedger } from './index.ts'
import { exportPackage, type Imported, importPackage, type Sealing, wantsPassphrase } from './package.ts'

const SECRET = 'STRIPE_KEY=sk_live_hunter2\n'
const DATA = randomBytes(300_000)

let identity: string
let recipient: string
let dir: string
let there: Ledger
let here: Ledger
let backupId: string
let file: string

beforeAll(async () => {
  identity = await generateIdentity()
  recipient = await identityToRecipient(identity)
})

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'backout-package-'))
  there = await ledgerIn('there')
  here = await ledgerIn('here')
  file = join(dir, 'v1.backout')
  backupId = await makeRelease(there)
})
afterEach(() => rm(dir, { recursive: true, force: true }))

async function ledgerIn(name: string): Promise<Ledger> {
  const home = join(dir, name)
  await mkdir(home)
  const keys = { identities: [await generateIdentity()], chain: randomBytes(32), vaultFile: null, folder: dir }
  return openLedger(home, 'production', keys, systemClock)
}

/** A release of an env file, whose content is sealed, and of a database with a proven backup. */
async function makeRelease(ledger: Ledger): Promise<string> {
  const sealed = await ledger.vault.seal(Buffer.from(SECRET), 'env')
  const draft = await ledger.backups.begin({ component: 'db', reason: 'capture', release: 'v1' })
  await mkdir(join(draft.dir, 'tables'))
  await writeFile(join(draft.dir, 'tables', 'orders.bin'), DATA)
  await writeFile(join(draft.dir, 'empty'), '')
  await draft.seal({ kind: 'test' })
  await ledger.backups.recordProof(draft.id, { at: '2026-01-02T03:04:05.000Z', ms: 12, ok: true, differences: [] })
  await ledger.releases.add({
    release: 'v1',
    environment: 'production',
    purpose: 'release',
    commit: null,
    components: { env: record({ mac: sealed.mac, sealed: { ...sealed } }), db: record({ backup: draft.id }) },
    backups: [draft.id],
    baseline: [],
  })
  await ledger.releases.mark('v1', 'known-good', 'its gates held')
  return draft.id
}

function record(pin: Json) {
  return { adapter: 'test', pinVersion: 1, identity: 'id', summary: 'v1', pin }
}

async function out(options: { sealing?: Sealing; signal?: AbortSignal } = {}, from = there) {
  const release = await from.releases.get('v1')
  const what = { ledger: from, release, environment: 'production' }
  return exportPackage(what, file, { sealing: { recipient }, clock: systemClock, ...options })
}

function take(into = here, unlock = { identities: [identity], passphrase: null as string | null }): Promise<Imported> {
  return importPackage(into, file, { unlock })
}

async function refused(work: Promise<unknown>): Promise<BackoutError> {
  const error: unknown = await work.then(
    () => null,
    (e: unknown) => e,
  )
  if (!(error instanceof BackoutError)) throw new Error(`not refused: ${String(error)}`)
  return error
}

/** Every file of a home, so that a refused import is seen to leave nothing. */
async function everything(home: string): Promise<string[]> {
  const entries = await readdir(home, { recursive: true, withFileTypes: true })
  return entries.filter(e => e.isFile()).map(e => join(e.parentPath, e.name))
}

async function refusedWhole(code: string): Promise<BackoutError> {
  const error = await refused(take())
  expect(error.code).toBe(code)
  expect(error.next).toBeTruthy()
  expect(await everything(here.home)).toEqual([])
  expect(await here.releases.find('v1')).toBeNull()
  return error
}

type Parts = [Partial<Header> & { name: string }, Buffer][]

/** Opens a package as somebody could who has the key, changes it, and closes it again. */
async function repack(change: (parts: Parts) => Parts | void): Promise<void> {
  const opener = new Decrypter()
  opener.addIdentity(identity)
  const plain = zstdDecompressSync(await opener.decrypt(await readFile(file)))
  const parts: Parts = []
  const tar = extract()
  tar.end(plain)
  for await (const entry of tar) {
    const chunks: Buffer[] = []
    for await (const chunk of entry as unknown as AsyncIterable<Buffer>) chunks.push(chunk)
    parts.push([{ name: entry.header.name }, Buffer.concat(chunks)])
  }
  const again = pack()
  for (const [header, content] of change(parts) ?? parts) again.entry(header, content)
  again.finalize()
  const bytes: Buffer[] = []
  for await (const chunk of again as unknown as AsyncIterable<Buffer>) bytes.push(chunk)
  const closer = new Encrypter()
  closer.addRecipient(recipient)
  await writeFile(file, await closer.encrypt(zstdCompressSync(Buffer.concat(bytes))))
}

const part = (parts: Parts, match: RegExp) => {
  const found = parts.find(([header]) => match.test(header.name))
  if (found === undefined) throw new Error(`no ${match}`)
  return found
}

type Manifest = { format: number; entries: { name: string; bytes: number; sha256: string }[]; [key: string]: unknown }

/** Changes an entry together with its line in the manifest: what a checksum alone does not find. */
function forge(parts: Parts, match: RegExp, content: (old: Buffer) => Buffer | string, name?: string): void {
  const found = part(parts, match)
  const manifest = JSON.parse(part(parts, /^manifest/)[1].toString()) as Manifest
  const line = manifest.entries.find(e => e.name === found[0].name)
  found[1] = Buffer.from(content(found[1]))
  if (line !== undefined) {
    line.name = name ?? line.name
    line.bytes = found[1].length
    line.sha256 = createHash('sha256').update(found[1]).digest('hex')
  }
  found[0].name = name ?? found[0].name
  part(parts, /^manifest/)[1] = Buffer.from(JSON.stringify(manifest))
}

function forgeManifest(parts: Parts, change: (manifest: Manifest) => void): void {
  const found = part(parts, /^manifest/)
  const manifest = JSON.parse(found[1].toString()) as Manifest
  change(manifest)
  found[1] = Buffer.from(JSON.stringify(manifest))
}

describe('A3: a release goes to another machine', () => {
  it('takes captures, sealed contents and backups into a home with other keys', async () => {
    const made = await out()
    expect(made).toMatchObject({ captures: 1, backups: 1, sealed: 1 })
    expect(
      createHash('sha256')
        .update(await readFile(file))
        .digest('hex'),
    ).toBe(made.sha256)
    const done = await take()
    const [capture] = (await here.releases.get('v1')).captures
    const [original] = (await there.releases.get('v1')).captures
    expect(done).toMatchObject({
      release: 'v1',
      environment: 'production',
      captures: [capture?.id],
      backups: [backupId],
    })
    const pin = capture?.components['env']?.pin as unknown as { mac: string; sealed: Sealed }
    const old = original?.components['env']?.pin as { mac: string } | undefined
    expect(old?.mac).toMatch(/^[0-9a-f]{64}$/)
    expect(pin.mac).not.toBe(old?.mac)
    expect(pin.mac).toBe(here.vault.mac(Buffer.from(SECRET)))
    expect(Buffer.from(await here.vault.open(pin.sealed)).toString()).toBe(SECRET)
    expect(capture).toEqual({
      ...original,
      components: { ...original?.components, env: record(pin as unknown as Json) },
    })
    expect(await here.backups.check(backupId)).toEqual([])
    const backup = await here.backups.get(backupId)
    expect(await readFile(join(backup.dir, 'tables', 'orders.bin'))).toEqual(DATA)
    expect({ ...backup, dir: '' }).toEqual({ ...(await there.backups.get(backupId)), dir: '' })
    expect(backup.proof?.ok).toBe(true)
    expect(await readdir(join(here.home, 'incoming'))).toEqual([])
  })

  it('never believes another machine that a release is good, but believes that it is bad', async () => {
    await out()
    expect(await take()).toMatchObject({ state: 'captured', was: 'known-good' })
    const { marks } = await here.releases.get('v1')
    expect(marks.map(m => m.state)).toEqual(['captured'])
    expect(marks[0]?.why).toMatch(/^imported from production \(exported .* by .*\), known-good there$/)
    await there.releases.mark('v1', 'bad', 'it was not')
    await rm(file)
    await out()
    const third = await ledgerIn('third')
    expect(await take(third)).toMatchObject({ state: 'bad', was: 'bad' })
  })

  it('keeps the mark "bad" of this home', async () => {
    await makeRelease(here)
    await here.releases.mark('v1', 'bad', 'seen here')
    await out()
    expect(await take()).toMatchObject({ state: 'bad', was: 'known-good' })
    expect((await here.releases.get('v1')).captures).toHaveLength(2)
  })

  it('changes nothing where it is here already, and brings a lost backup back', async () => {
    await out()
    await take()
    await here.releases.mark('v1', 'known-good', 'tried here')
    const before = await everything(here.home)
    expect(await take()).toMatchObject({ captures: [], backups: [], state: 'known-good' })
    expect(await everything(here.home)).toEqual(before)
    await rm((await here.backups.get(backupId)).dir, { recursive: true })
    expect(await take()).toMatchObject({ captures: [], backups: [backupId] })
    expect(await here.backups.check(backupId)).toEqual([])
  })

  // Slow on purpose: each try costs more than a second. A wrong passphrase is tried in src/cli/remote.test.ts.
  it('opens with a passphrase', { timeout: 90_000 }, async () => {
    await out({ sealing: { passphrase: 'correct horse battery' } })
    expect(await wantsPassphrase(file)).toBe(true)
    expect(await take(here, { identities: [], passphrase: 'correct horse battery' })).toMatchObject({ release: 'v1' })
  })

  it('shows nothing of the content, neither in the file nor while it is taken in', async () => {
    await out()
    for (const word of ['hunter2', 'orders.bin', 'known-good'])
      expect(await readFile(file, 'latin1')).not.toContain(word)
    await take()
    for (const path of await everything(join(here.home, 'vault')))
      expect(await readFile(path, 'utf8')).not.toMatch(SECRET)
  })
})

describe('an export that cannot be whole is none', () => {
  it.each([
    [
      'a backup that is gone',
      'backup_gone',
      async () => rm((await there.backups.get(backupId)).dir, { recursive: true }),
    ],
    ['a backup that was altered', 'backup_altered', () => alter(Buffer.from(DATA).fill(1, 5, 6))],
    ['a backup that was cut', 'backup_altered', () => alter(DATA.subarray(1))],
    ['a secret that is gone', 'vault_unreadable', () => rm(join(there.home, 'vault'), { recursive: true })],
  ])('%s', async (_, code, harm) => {
    await harm()
    expect((await refused(out())).code).toBe(code)
    expect((await readdir(dir)).toSorted()).toEqual(['here', 'there'])
  })

  async function alter(content: Buffer): Promise<void> {
    await writeFile(join((await there.backups.get(backupId)).dir, 'tables', 'orders.bin'), content)
  }

  it('never writes over a file, and never without a key', async () => {
    await writeFile(file, 'precious')
    expect((await refused(out())).code).toBe('file_exists')
    expect(await readFile(file, 'utf8')).toBe('precious')
    await rm(file)
    expect((await refused(out({ sealing: { recipient: 'age1nonsense' } }))).code).toBe('recipient_invalid')
  })

  it('leaves nothing when it is stopped', async () => {
    const stop = new AbortController()
    stop.abort(new BackoutError({ code: 'stopped', what: 'Stopped' }))
    expect((await refused(out({ signal: stop.signal }))).code).toBe('stopped')
    expect((await readdir(dir)).toSorted()).toEqual(['here', 'there'])
  })
})

describe('A3: an altered package is refused, and nothing of it is taken in', () => {
  beforeEach(async () => {
    await out()
  })

  it('another key', async () => {
    const other = await generateIdentity()
    const error = await refused(take(here, { identities: [other], passphrase: null }))
    expect(error.code).toBe('package_locked')
    expect(error.message).not.toContain(other)
  })

  it('a flipped bit, wherever it is', async () => {
    const whole = await readFile(file)
    for (const at of [0.3, 0.6, 0.9, 0.9999].map(part => Math.floor(whole.length * part))) {
      const changed = Buffer.from(whole)
      changed[at] = (changed[at] ?? 0) ^ 1
      await writeFile(file, changed)
      await refusedWhole('package_altered')
    }
    const head = Buffer.from(whole)
    head[head.indexOf('\n---') + 8] = (head[head.indexOf('\n---') + 8] ?? 0) ^ 2
    await writeFile(file, head)
    await refusedWhole('package_altered')
  })

  it('a cut-off end, at the end of a chunk too', async () => {
    const { length } = await readFile(file)
    const chunk = 64 * 1024 + 16
    const header = (await readFile(file, 'latin1')).indexOf('\n', (await readFile(file, 'latin1')).indexOf('\n---') + 1)
    for (const size of [length - 1, length - 40, header + 1 + 16 + chunk * 2, header + 1 + 16]) {
      await truncate(file, size)
      await refusedWhole('package_altered')
      await rm(file)
      await out()
    }
  })

  it('something else', async () => {
    await writeFile(file, 'PK\x03\x04 not a package')
    await refusedWhole('not_a_package')
    await writeFile(file, '')
    await refusedWhole('not_a_package')
    await rm(file)
    await refusedWhole('package_unreadable')
  })

  const changes: [string, (parts: Parts) => Parts | void, RegExp][] = [
    ['a byte of a backup', parts => void part(parts, /orders/)[1].fill(7, 100, 101), /checksum/],
    ['a byte of release.json', parts => void part(parts, /^release/)[1].write('9', 60), /checksum/],
    ['a missing backup file', parts => parts.filter(([h]) => !h.name.includes('orders')), /orders.bin is missing/],
    ['a missing secret', parts => parts.filter(([h]) => !h.name.startsWith('vault/')), /is missing/],
    ['no manifest', parts => parts.slice(1), /begin with its manifest/],
    ['an entry too many', parts => [...parts, [{ name: 'backups/db/x/y' }, Buffer.from('')]], /not in its manifest/],
    ['an entry twice', parts => [...parts, part(parts, /orders/)], /twice/],
    ['another length', parts => void (part(parts, /orders/)[1] = DATA.subarray(1)), /not as long/],
    ['a link', parts => parts.map(p => (p[0].name.endsWith('/empty') ? link(p[0].name) : p)), /symlink/],
    ['a way out of the folder', parts => forge(parts, /orders/, b => b, 'backups/db/../../../escape'), /no name/],
    ['an absolute way', parts => forge(parts, /orders/, b => b, '/tmp/escape'), /no name/],
    [
      'a way out in a backup',
      parts => forge(parts, /backup.json/, replace('tables/orders.bin', '../../escape')),
      /read/,
    ],
    ['a way out as component', parts => forge(parts, /backup.json/, replace('"db"', '".."')), /read/],
    ['a way out as release', rename('..'), /manifest/],
    ['a way out as capture', parts => forge(parts, /^release/, replace('"id": "2', '"id": "../2')), /cannot be read/],
    ['a screen trick in a name', parts => forge(parts, /^release/, replace('"v1",\n', '"v1\\u001b[2J",\n')), /read/],
    ['a backup that lists other files', parts => forge(parts, /backup.json/, replace('tables/o', 'tables/p')), /names/],
    [
      'captures of another release',
      parts => forge(parts, /^release/, replace('"release": "v1"', '"release": "v2"')),
      /name/,
    ],
    [
      'a secret that the pins do not have',
      parts => forge(parts, /^vault/, b => b, `vault/${'0'.repeat(32)}`),
      /missing/,
    ],
    [
      'a backup that is not there',
      parts => forgeManifest(parts, m => void (m.entries = without(m, /^backups/))),
      /not in/,
    ],
    ['words for numbers', parts => forgeManifest(parts, m => void (m['captures'] = 'all')), /manifest/],
    ['no JSON', parts => void (part(parts, /^manifest/)[1] = Buffer.from('{')), /cannot be read/],
  ]
  it.each(changes)('by somebody with the key: %s', async (_, change, why) => {
    await repack(change)
    const error = await refusedWhole('package_altered')
    expect(error.why).toMatch(why)
    expect(existsSync(join(dir, 'escape')) || existsSync('/tmp/escape')).toBe(false)
  })

  const replace = (from: string, to: string) => (old: Buffer) => old.toString().replaceAll(from, to)
  const link = (name: string): Parts[number] => [{ name, type: 'symlink', linkname: '/etc/passwd' }, Buffer.alloc(0)]
  const without = (m: Manifest, match: RegExp) => m.entries.filter(e => !match.test(e.name))
  function rename(name: string) {
    return (parts: Parts) => forgeManifest(parts, m => void (m['release'] = name))
  }

  it('a format of the future is named as such', async () => {
    await repack(parts => forgeManifest(parts, m => void (m.format = 2)))
    await refusedWhole('package_newer')
  })

  it('more than the disk can hold', async () => {
    await repack(parts => forgeManifest(parts, m => m.entries.forEach(e => (e.bytes = 2 ** 51))))
    await refusedWhole('disk_full')
  })

  it('another capture under the id of one that is here', async () => {
    await take()
    const before = await everything(here.home)
    await repack(parts => forge(parts, /^release/, replace('"summary": "v1"', '"summary": "V1"')))
    expect((await refused(take())).code).toBe('capture_differs')
    expect(await everything(here.home)).toEqual(before)
  })

  it('a backup that is here and was altered here', async () => {
    await take()
    const backup = await here.backups.get(backupId)
    await writeFile(join(backup.dir, 'empty'), 'x')
    const error = await refused(take())
    expect(error).toMatchObject({ code: 'backup_differs', next: expect.stringContaining(backup.dir) as unknown })
  })
})

describe('C16: killed in the middle', () => {
  it('an import leaves no release, and the next one takes its leftovers away', async () => {
    await out()
    const child = spawn(
      process.execPath,
      [join(import.meta.dirname, 'package-killed.fixture.ts'), here.home, file, identity],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    )
    await once(child, 'exit')
    expect(child.signalCode).toBe('SIGKILL')
    expect(await readdir(join(here.home, 'incoming'))).toHaveLength(1)
    expect(await here.releases.find('v1')).toBeNull()
    expect(await here.backups.list('db')).toEqual([])
    await take()
    expect(await readdir(join(here.home, 'incoming'))).toEqual([])
    expect(await here.backups.check(backupId)).toEqual([])
  })
})
