import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { basename, resolve } from 'node:path'
import { identityToRecipient } from 'age-encryption'
import { BackoutError, EXIT, messageOf } from '../../core/errors.ts'
import { toJson } from '../../core/json.ts'
import { remember } from '../../core/secret.ts'
import {
  checksumOf,
  exportPackage,
  type Imported,
  importPackage,
  type Sealing,
  type Unlock,
  wantsPassphrase,
} from '../../ledger/package.ts'
import { person } from '../../ledger/releases.ts'
import { passphrase } from '../passphrase.ts'
import type { Globals } from '../program.ts'
import { type Session, withSession } from '../session.ts'
import { bytes } from '../text.ts'

export function exportRelease(
  globals: Globals,
  options: { recipient?: string },
  name = '',
  file = '',
): Promise<number> {
  return withSession(globals, async ({ environment, out }) => {
    const { ledger, config, clock } = environment
    const release = await ledger.releases.get(name)
    const { recipient } = options
    const sealing: Sealing = recipient === undefined ? { passphrase: await passphrase({ fresh: true }) } : { recipient }
    const what = { ledger, release, environment: config.environment }
    const made = await stoppable(signal => exportPackage(what, resolve(file), { sealing, clock, signal }))
    const engine = await environment.engine({ worker: false })
    const { sha256, captures, backups, sealed } = made
    const to = recipient ?? 'a passphrase'
    await engine.record('exported', {
      release: name,
      by: person(),
      file: basename(file),
      sha256,
      to,
      bytes: made.bytes,
    })
    out.data({ release: name, ...made })
    out.line(`${name} is in ${file}: ${bytes(made.bytes)}, encrypted to ${to}`)
    out.line(`  captures ${captures}, backups ${backups}, sealed contents ${sealed}`)
    out.line(`  sha256 ${sha256}`)
    out.line('Where it is taken in: backout release import FILE; it must show the same sha256')
    return EXIT.ok
  })
}

export function importRelease(globals: Globals, options: { identity?: string }, file = ''): Promise<number> {
  return withSession(globals, async session => {
    const { environment, out } = session
    const path = resolve(file)
    const unlock = await unlockOf(session, path, options.identity)
    const done = await stoppable(signal => importPackage(environment.ledger, path, { unlock, signal }))
    const sha256 = await checksumOf(path)
    const fresh = done.captures.length > 0 || done.backups.length > 0
    if (fresh) {
      const engine = await environment.engine({ worker: false })
      await engine.record('imported', toJson({ ...done, by: person(), file: basename(file), sha256 }))
    }
    out.data({ ...done, sha256 })
    show(session, done, sha256)
    return EXIT.ok
  })
}

/** Tries the key that is named, or those of this home; a passphrase only where the file asks for one. */
async function unlockOf({ environment }: Session, file: string, identity: string | undefined): Promise<Unlock> {
  if (!existsSync(file)) {
    const next = 'name a file that `backout release export` wrote'
    throw new BackoutError({ code: 'file_unreadable', what: `There is no file ${file}`, next, exit: 'usage' })
  }
  const wants = await wantsPassphrase(file)
  if (wants === null) {
    const next = 'name a file that `backout release export` wrote'
    throw new BackoutError({ code: 'not_a_package', what: `${file} is no exported release`, next, exit: 'usage' })
  }
  if (wants) return { identities: [], passphrase: await passphrase({ fresh: false }) }
  const identities = identity === undefined ? environment.ledger.keys.identities : await identitiesIn(identity)
  return { identities, passphrase: null }
}

async function identitiesIn(file: string): Promise<string[]> {
  const next = 'name a file of age identities, one a line: AGE-SECRET-KEY-…'
  const bad = (cause: string) =>
    new BackoutError({ code: 'key_invalid', what: `${file} holds no key to open it with`, cause, next, exit: 'usage' })
  const text = await readFile(resolve(file), 'utf8').catch((error: unknown) => {
    throw bad(messageOf(error))
  })
  const lines = text
    .split('\n')
    .map(line => line.trim())
    .filter(line => line !== '' && !line.startsWith('#'))
  lines.forEach(remember)
  for (const line of lines) {
    await identityToRecipient(line).catch(() => {
      throw bad('one of its lines is no age identity')
    })
  }
  if (lines.length === 0) throw bad('it is empty')
  return lines
}

function show({ environment, out }: Session, done: Imported, sha256: string): void {
  const { release, captures, backups, state, was } = done
  if (captures.length === 0 && backups.length === 0) {
    out.line(`${release} is here already, with the same captures and backups; nothing was changed.`)
    return
  }
  out.line(`${release} is taken in: ${captures.length} captures, ${backups.length} backups`)
  out.line(`  exported from ${done.environment} ${done.exportedAt} by ${done.exportedBy}`)
  out.line(`  sha256 ${sha256}`)
  if (done.environment !== environment.config.environment) {
    out.line(`  It was captured in ${done.environment}, and this is ${environment.config.environment}: pins of other`)
    out.line('  systems stop a plan, whatever the release is called.')
  }
  if (state === was) return
  out.line(`It was ${was} there, and is ${state} here. Where you know it to be good:`)
  out.line(`  backout release mark ${release} known-good`)
}

/** To whom a release is exported that this home shall take in. */
export function recipient(globals: Globals): Promise<number> {
  return withSession(globals, async ({ environment, out }) => {
    const made = await identityToRecipient(environment.ledger.keys.identities[0] ?? '')
    out.data({ recipient: made })
    out.line(made)
    return EXIT.ok
  })
}

/** Ctrl-C and the like stop the work, and what was begun is taken away. */
async function stoppable<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const stop = new AbortController()
  const names = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
  const onSignal = (name: NodeJS.Signals) => {
    stop.abort(
      new BackoutError({ code: 'stopped', what: `Stopped by ${name}; nothing of it is left`, exit: 'aborted' }),
    )
  }
  for (const name of names) process.on(name, onSignal)
  try {
    return await work(stop.signal)
  } finally {
    for (const name of names) process.off(name, onSignal)
  }
}
