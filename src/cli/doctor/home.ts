import { constants } from 'node:fs'
import { access, readdir, stat, statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import type { Config } from '../../config/load.ts'
import { runLocal } from '../../exec/local.ts'
import { keyFolder } from '../../ledger/keys.ts'
import { bytes } from '../text.ts'
import { type Check, saying } from './check.ts'

const say = saying('home')

const MIB = 1024 * 1024
/** Below the first a plan is blocked (see wiring/planning.ts); below the second a backup may not fit. */
const ROOM = { blocked: 100 * MIB, scarce: 1024 * MIB }

const NETWORK = new Set([0x6969, 0x517b, 0xff534d42, 0xfe534d42, 0x65735546])
const MEMORY = new Set([0x01021994, 0x858458f6])

/** Whether what Backout keeps can be kept here, and what becomes of it. Looked at before the home is opened. */
export async function homeChecks(config: Config, home: string): Promise<Check[]> {
  const there = await nearest(home)
  const writable = await access(there, constants.W_OK | constants.X_OK).then(
    () => true,
    () => false,
  )
  if (!writable) {
    const remedy = `give this user the right to write there (chown), or set \`home:\` to another folder`
    return [
      say('problem', 'home_not_writable', `${there} cannot be written by this user, and home: is ${home}`, remedy),
    ]
  }
  const checks = [...(await diskChecks(home, there)), ...(await rightsChecks(home)), ...(await gitChecks(config, home))]
  const grave = checks.some(c => c.level === 'problem' || c.level === 'warning')
  return grave ? checks : [say('ok', 'home', `${home} can be written, on a local disk`), ...checks]
}

/** The folder itself, or the one that it would be made in. */
async function nearest(path: string): Promise<string> {
  for (let at = path; ; at = dirname(at)) {
    if ((await stat(at).catch(() => null)) !== null || at === dirname(at)) return at
  }
}

async function diskChecks(home: string, there: string): Promise<Check[]> {
  const { type, bavail, bsize } = await statfs(there)
  const out: Check[] = []
  if (NETWORK.has(type)) {
    const remedy = 'put `home:` on a local disk, or on one machine for all: home: ssh://HOST/PATH'
    out.push(
      say(
        'problem',
        'home_on_network',
        `${home} lies on a network file system, where locks cannot be relied on`,
        remedy,
      ),
    )
  }
  const temporary = MEMORY.has(type) || !relative(tmpdir(), home).startsWith('..')
  if (temporary) {
    const what = `${home} is emptied when this machine restarts: releases, backups and the journal would be gone`
    out.push(say('warning', 'home_temporary', what, 'set `home:` to a folder on a disk: home: /var/lib/backout'))
  }
  const free = bavail * bsize
  const room = `${bytes(free)} are free where ${home} lies`
  if (free < ROOM.blocked) out.push(say('problem', 'disk_full', `only ${room}`, 'make room: 100 MiB at least'))
  else if (free < ROOM.scarce) out.push(say('warning', 'disk_scarce', `only ${room}`, 'make room for backups'))
  else out.push(say('ok', 'disk', room))
  return out
}

async function rightsChecks(home: string): Promise<Check[]> {
  const found = await stat(home).catch(() => null)
  if (found === null || (found.mode & 0o077) === 0) return []
  const what = `${home} can be read by other users of this machine, and holds backups of the data`
  return [say('warning', 'home_open', what, `chmod 700 ${home}`)]
}

/** A clone of the repository carries neither the home nor its lock, and must not carry its content either. */
async function gitChecks(config: Config, home: string): Promise<Check[]> {
  const git = (...argv: string[]) =>
    runLocal({ argv: ['git', '-C', config.baseDir, ...argv], limitMs: 10_000 }).catch(() => null)
  const inside = (await git('rev-parse', '--show-toplevel'))?.code === 0
  const out: Check[] = []
  const own = relative(config.baseDir, home)
  if (inside && !own.startsWith('..') && (await git('check-ignore', '-q', '--', join(own, 'x')))?.code === 1) {
    const what = `Git does not ignore ${own}/: backups and the journal could be committed`
    out.push(say('warning', 'home_not_ignored', what, `add ${own}/ to .gitignore`))
  }
  const shared = inside && ((await git('remote'))?.stdout ?? '').trim() !== ''
  if (process.env['BACKOUT_HOME'] !== undefined) return out
  const what = `the lock protects whoever works with ${home}; another clone or machine has a home of its own`
  const remedy = 'several people or CI: home: ssh://HOST/var/lib/backout'
  out.push(say(shared || process.env['CI'] !== undefined ? 'warning' : 'note', 'lock_local', what, remedy))
  return out
}

const YEAR_MS = 365 * 86_400_000

/** Keys are looked at once the home was opened: by then they are there. */
export async function keyChecks(config: Config, home: string, now: number): Promise<Check[]> {
  const folder = keyFolder(home)
  const out: Check[] = []
  const names = (await readdir(folder).catch(() => [])).filter(name => name.endsWith('.key'))
  for (const name of names) {
    const path = join(folder, name)
    const { mode, mtimeMs } = await stat(path)
    if ((mode & 0o077) !== 0) {
      out.push(say('warning', 'key_open', `${path} can be read by other users of this machine`, `chmod 600 ${path}`))
    }
    const days = Math.floor((now - mtimeMs) / 86_400_000)
    if (name === 'vault.key' && now - mtimeMs > YEAR_MS) {
      out.push(say('note', 'key_old', `the vault key is ${days} days old`, 'backout vault rotate'))
    }
  }
  if (names.length > 0 && out.length === 0) {
    const what = `keys in ${folder}, readable by this user alone`
    const remedy = config.keys.vault === undefined ? 'keep a copy elsewhere: without them sealed content is lost' : ''
    out.push(say('ok', 'keys', what, remedy))
  }
  if (names.length === 0) out.push(say('ok', 'keys', 'keys come from `keys:` of backout.yaml'))
  return out
}
