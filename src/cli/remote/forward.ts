import { createHash, randomBytes } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { access, open, rename, rm, stat } from 'node:fs/promises'
import { hostname, userInfo } from 'node:os'
import { basename, dirname, join } from 'node:path'
import type { Readable } from 'node:stream'
import { BackoutError, EXIT } from '../../core/errors.ts'
import { quote } from '../../exec/ssh-script.ts'
import type { Call, Carried } from './call.ts'
import type { RemoteHome } from './home.ts'
import { type Ended, overSsh } from './ssh.ts'

interface LocalConfig {
  readonly file: string
  readonly text: string
}

/** Exit codes of the lines below that no command of Backout ends with. */
const STALE = 213
const NOTHING = 215

/** Executes a command on the machine that the home is on. Answers its exit code, unchanged. */
export async function forwardCall(call: Call, home: RemoteHome, config: LocalConfig): Promise<number> {
  await refuseHere(call)
  const secret = await secretOf(call)
  const transfer = call.carried.length === 0 ? null : `${home.path}/transfer/${randomBytes(6).toString('hex')}`
  const go = () => overSsh(home, { ...session(secret), script: commandLine(call, home, { config, transfer, secret }) })
  const there = call.carried.filter(f => f.way === 'there')
  for (const file of there) await carryThere(home, file, transfer ?? '')
  let ended = await go()
  for (let i = 0; i < 2 && ended.code === STALE && ended.stopped === null; i++) {
    await pushConfig(home, config)
    ended = await go()
  }
  if (ended.stopped !== null) return leftRunning(home, ended.stopped)
  refuseUnstarted(home, ended)
  for (const file of call.carried) if (file.way === 'back') await carryBack(home, file, transfer ?? '')
  return ended.code
}

/** With a terminal at both ends the other side gets one too: it asks, draws and hears Ctrl-C as if it were here. */
function session(secret: string | null) {
  if (secret !== null) return { stdin: `${secret}\n` }
  return { terminal: process.stdin.isTTY && process.stdout.isTTY && process.env['TERM'] !== 'dumb' }
}

/**
 * The line that runs there. It looks first whether backout.yaml is the one of here, so that one connection is enough
 * for most commands. The shell stays: an end by a signal then has a code of its own, not ssh's.
 */
export function commandLine(
  call: Call,
  home: RemoteHome,
  { config, transfer, secret }: { config: LocalConfig; transfer: string | null; secret: string | null },
): string {
  const yaml = `${home.path}/backout.yaml`
  const at = quote(yaml)
  const same = `h=$( { sha256sum || shasum -a 256 || openssl dgst -sha256 -r; } <${at} 2>/dev/null )`
  const follow = call.command === 'run' && call.options['detach'] !== true
  const words = ['--config', yaml, ...call.argv.slice(0, lastWord(call)), ...(follow ? ['--detach'] : [])]
  const argv = [...words, ...call.argv.slice(lastWord(call))].map(quote).join(' ')
  const env = Object.entries(environmentOf(call, home)).map(([name, value]) => `${name}=${quote(value)}`)
  const back = call.carried.some(f => f.way === 'back')
  const lines = [
    secret === null ? '' : 'IFS= read -r BACKOUT_PASSPHRASE; export BACKOUT_PASSPHRASE',
    same,
    `case $h in ${sha256(config.text)}*) ;; *) exit ${STALE};; esac`,
    transfer === null ? '' : `mkdir -p -m 700 ${quote(dirname(transfer))} ${quote(transfer)} && cd ${quote(transfer)}`,
    'trap : INT',
    `env ${env.join(' ')} ${home.command} ${argv}${secret === null ? '' : ' </dev/null'}`,
    'c=$?',
    transfer === null || back ? '' : `cd /; rm -rf ${quote(transfer)}`,
    'exit $c',
  ]
  return lines.filter(line => line !== '').join('; ')
}

/** Where options may still be added: before `--`. */
function lastWord(call: Call): number {
  const end = call.argv.indexOf('--')
  return end === -1 ? call.argv.length : end
}

function environmentOf(call: Call, home: RemoteHome): Record<string, string> {
  const seen = ['COLUMNS', 'NO_COLOR', 'FORCE_COLOR'].flatMap(name => {
    const value = process.env[name]
    return value === undefined ? [] : [[name, value] as const]
  })
  return {
    BACKOUT_HOME: home.path,
    BACKOUT_USER: process.env['BACKOUT_USER'] || `${userInfo().username}@${hostname()}`,
    ...(call.options['detach'] === true ? {} : { BACKOUT_FOLLOW: '1' }),
    ...Object.fromEntries(seen),
  }
}

/** What can be known to fail before anything is sent. */
async function refuseHere(call: Call): Promise<void> {
  for (const { local, way } of call.carried) {
    const found = await stat(local).catch(() => null)
    if (way === 'there' && found?.isFile() !== true) {
      const next = 'name a file of this machine'
      throw new BackoutError({ code: 'file_unreadable', what: `There is no file ${local}`, next, exit: 'usage' })
    }
    if (way === 'back' && call.command === 'release export' && found !== null) {
      const next = 'name another file, or take that one away first'
      throw new BackoutError({ code: 'file_exists', what: `${local} is there already`, next, exit: 'usage' })
    }
    if (way === 'back') await access(dirname(local))
  }
}

/** A passphrase is asked for here, and goes by standard input: what stands in a command line, anybody there can read. */
async function secretOf(call: Call): Promise<string | null> {
  if (!call.command.startsWith('release ')) return null
  const { passphrase } = await import('../passphrase.ts')
  const { wantsPassphrase } = await import('../../ledger/package.ts')
  if (call.command === 'release export' && call.options['recipient'] === undefined) return passphrase({ fresh: true })
  if (call.command !== 'release import') return null
  const file = call.carried.find(f => f.local.endsWith(f.name))?.local ?? ''
  return (await wantsPassphrase(file)) === true ? passphrase({ fresh: false }) : null
}

/** Puts this machine's backout.yaml there, checked before and as a whole. */
async function pushConfig(home: RemoteHome, { file, text }: LocalConfig): Promise<void> {
  const { catalogue } = await import('../wiring/environment.ts')
  await (await import('../../config/load.ts')).loadConfig(file, catalogue)
  const at = quote(`${home.path}/backout.yaml`)
  const aside = quote(`${home.path}/.backout.yaml.${randomBytes(4).toString('hex')}`)
  const script = [
    'umask 077',
    `[ -d ${quote(home.path)} ] || echo new`,
    `mkdir -p ${quote(home.path)} || exit 1`,
    `[ ! -f ${at} ] || echo replaced`,
    put(aside, Buffer.byteLength(text), at),
  ]
  const said = await quietly(home, script.join('; '), text)
  const where = `${home.address}:${home.path}`
  if (said.includes('new')) process.stderr.write(`A new home is made: ${where}\n`)
  else if (said.includes('replaced')) process.stderr.write(`backout.yaml of ${where} is replaced by ${file}\n`)
}

/** Takes standard input as a file, whole or not at all: a lost connection looks like its end. */
function put(aside: string, size: number, to: string): string {
  return `cat >${aside} && [ "$(wc -c <${aside})" -eq ${size} ] && mv ${aside} ${to} || { rm -f ${aside}; exit 1; }`
}

async function carryThere(home: RemoteHome, file: Carried, transfer: string): Promise<void> {
  const { size } = await stat(file.local)
  const folder = quote(dirname(transfer))
  const script = [
    'umask 077',
    `mkdir -p ${quote(transfer)} || exit 1`,
    // What a killed command left behind.
    `find ${folder} -mindepth 1 -maxdepth 1 -mtime +1 -exec rm -rf {} + 2>/dev/null`,
    put(quote(`${transfer}/.${file.name}.part`), size, quote(`${transfer}/${file.name}`)),
  ]
  await quietly(home, script.join('; '), createReadStream(file.local))
}

async function carryBack(home: RemoteHome, file: Carried, transfer: string): Promise<void> {
  const from = quote(`${transfer}/${file.name}`)
  const aside = join(dirname(file.local), `.${basename(file.local)}.${randomBytes(4).toString('hex')}.new`)
  let errors = ''
  try {
    const script = `[ -f ${from} ] || { rm -rf ${quote(transfer)}; exit ${NOTHING}; }; cat ${from} && rm -rf ${quote(transfer)}`
    const onOutput = async (chunks: Readable) => {
      await using handle = await open(aside, 'wx', 0o600)
      for await (const chunk of chunks) await handle.writeFile(chunk as Uint8Array)
      await handle.sync()
    }
    const { code, stopped } = await overSsh(home, { script, onOutput, onErrors: text => (errors = text) })
    if (code === NOTHING) return
    if (code !== 0 || stopped !== null) throw thereFailed(home, `${file.name} could not be brought back`, errors)
    await rename(aside, file.local)
    process.stderr.write(`Brought here from ${home.address}: ${file.local}\n`)
  } finally {
    await rm(aside, { force: true })
  }
}

async function quietly(home: RemoteHome, script: string, stdin: string | AsyncIterable<Uint8Array>): Promise<string> {
  let said = ''
  let errors = ''
  const onOutput = async (chunks: Readable) => {
    for await (const chunk of chunks) said += String(chunk)
  }
  const { code, stopped } = await overSsh(home, { script, stdin, onOutput, onErrors: text => (errors = text) })
  if (code !== 0 || stopped !== null) throw thereFailed(home, 'What the command needs could not be put there', errors)
  return said
}

function thereFailed(home: RemoteHome, what: string, cause: string): BackoutError {
  return new BackoutError({
    code: 'home_unusable',
    what: `The home ${home.path} on ${home.address} cannot be used. ${what}`,
    cause: cause.trim() === '' ? undefined : cause.trim(),
    next: `make ${home.path} writable for that user there, or correct \`home:\``,
    exit: 'blocked',
  })
}

function refuseUnstarted(home: RemoteHome, { code }: Ended): void {
  if (code === STALE) {
    throw new BackoutError({
      code: 'config_contested',
      what: `backout.yaml of ${home.address}:${home.path} is not the one of here, though it was just put there`,
      cause: 'somebody else puts another one there, or that machine has none of sha256sum, shasum, openssl',
      next: 'agree on one backout.yaml, then try again',
      exit: 'busy',
    })
  }
  if (code !== 127 && code !== 126) return
  throw new BackoutError({
    code: 'backout_missing',
    what: `Backout cannot be started on ${home.address}: "${home.command}" ${code === 127 ? 'is not found there' : 'cannot be executed there'}`,
    next: `install it there, or say how it is called: home: { at: "ssh://${home.address}${home.port === null ? '' : `:${home.port}`}${home.path}", command: /usr/local/bin/backout }`,
    exit: 'blocked',
  })
}

const NUMBER: Partial<Record<NodeJS.Signals, number>> = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 }

function leftRunning(home: RemoteHome, signal: NodeJS.Signals): number {
  process.stderr.write(`\nNo longer watching. A run on ${home.address} goes on there: backout status --follow\n`)
  return 128 + (NUMBER[signal] ?? EXIT.internal)
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
