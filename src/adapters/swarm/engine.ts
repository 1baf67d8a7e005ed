import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import type Docker from 'dockerode'
import type { OpenContext } from '../../core/contract.ts'
import { BackoutError, messageOf } from '../../core/errors.ts'
import { redact } from '../../core/secret.ts'
import { sshTunnel } from '../../exec/ssh.ts'
import type { SwarmConfig } from './config.ts'

/** The types of dockerode take options for callbacks: what it answers is said by who asks. */
type Call = (docker: Docker, options: never) => unknown

/** The Engine API of one manager. */
export interface Engine extends AsyncDisposable {
  /** As the settings have it. */
  readonly name: string
  /**
   * Asks it one thing. Throws the signal's reason when it aborts, else `engine_unreachable`, `engine_refused`,
   * `not_a_manager`, `swarm_no_quorum`; what it answered is told by `statusOf`.
   */
  ask<T>(what: string, call: Call, signal: AbortSignal): Promise<T>
}

/** The newest version of the API that this was written for. An engine that speaks older ones only is met there. */
const NEWEST = '1.47'
const SOCKET = '/var/run/docker.sock'

type Options = Docker.DockerOptions

interface Versions {
  readonly ApiVersion: string
  readonly MinAPIVersion?: string
}

interface Way extends AsyncDisposable {
  options(signal: AbortSignal): Promise<Options>
}

export function openEngine(config: SwarmConfig, ctx: OpenContext): Engine {
  const way = wayTo(config, ctx)
  let known: { key: string; docker: Docker } | null = null
  const connect = async (signal: AbortSignal) => {
    const options = await way.options(signal)
    const key = options.socketPath ?? ''
    if (known?.key !== key) known = { key, docker: await speaking(options, signal) }
    return known.docker
  }
  return {
    name: config.engine,
    async ask<T>(what: string, call: Call, signal: AbortSignal) {
      signal.throwIfAborted()
      const limit = AbortSignal.timeout(config.limits.answer)
      const abortSignal = AbortSignal.any([signal, limit])
      try {
        return (await call(await connect(abortSignal), { abortSignal } as never)) as T
      } catch (error) {
        if (signal.aborted) throw signal.reason
        if (error instanceof BackoutError) throw error
        const why = limit.aborted ? `no answer within ${config.limits.answer} ms` : messageOf(error)
        throw translated(config.engine, what, error, redact(why))
      }
    },
    [Symbol.asyncDispose]: () => way[Symbol.asyncDispose](),
  }
}

function wayTo({ engine, tls, sshConfig, limits }: SwarmConfig, ctx: OpenContext): Way {
  const [, scheme = '', rest = ''] = /^(\w+):\/\/(.*)$/.exec(engine) ?? []
  const nothing = { [Symbol.asyncDispose]: async () => {} }
  if (scheme === 'unix') return { options: async () => ({ socketPath: rest }), ...nothing }
  if (scheme === 'ssh') {
    const slash = rest.indexOf('/')
    const address = slash < 0 ? rest : rest.slice(0, slash)
    const file = sshConfig === undefined ? undefined : resolve(ctx.baseDir, sshConfig)
    const tunnel = sshTunnel(
      { address: /:\d+$/.test(address) ? `ssh://${address}` : address, config: file, connectMs: limits.answer },
      slash < 0 ? SOCKET : rest.slice(slash),
    )
    return {
      options: async signal => ({ socketPath: await tunnel.socket(signal) }),
      [Symbol.asyncDispose]: () => tunnel[Symbol.asyncDispose](),
    }
  }
  const { hostname, port } = new URL(`tcp://${rest}`)
  const plain = { host: hostname.replaceAll(/[[\]]/g, ''), port, protocol: 'http' as const }
  return { options: async () => (tls === undefined ? plain : { ...plain, ...(await keys(tls, ctx)) }), ...nothing }
}

async function keys(tls: NonNullable<SwarmConfig['tls']>, ctx: OpenContext): Promise<Options> {
  const read = async (path: string) => {
    try {
      return await readFile(resolve(ctx.baseDir, path))
    } catch (error) {
      throw new BackoutError({
        code: 'tls_unreadable',
        what: `The file ${path} for the TLS of the engine cannot be read`,
        cause: messageOf(error),
        next: 'correct `tls` in the settings, or its rights',
        exit: 'blocked',
      })
    }
  }
  const [ca, cert, key] = await Promise.all([read(tls.ca), read(tls.cert), read(tls.key)])
  return { protocol: 'https', ca, cert, key }
}

/** Speaks the newest version of the API that both sides know: what an unversioned call means changes with the engine. */
async function speaking(options: Options, abortSignal: AbortSignal): Promise<Docker> {
  // 200 ms to load: only where it is used.
  const { default: Client } = await import('dockerode')
  const said = (await (new Client(options).version({ abortSignal } as never) as unknown)) as Versions
  const version = newer(said.ApiVersion, NEWEST) ? NEWEST : said.ApiVersion
  const least = said.MinAPIVersion ?? '0.0'
  return new Client({ ...options, version: `v${newer(least, version) ? least : version}` })
}

function newer(a: string, b: string): boolean {
  const [[majorA = 0, minorA = 0], [majorB = 0, minorB = 0]] = [a.split('.').map(Number), b.split('.').map(Number)]
  return majorA === majorB ? minorA > minorB : majorA > majorB
}

function translated(engine: string, what: string, from: unknown, why: string): BackoutError {
  const status = (from as { statusCode?: number }).statusCode
  const base = { cause: why, from }
  if (status === undefined) {
    return new BackoutError({
      ...base,
      code: 'engine_unreachable',
      what: `The Docker Engine at ${engine} did not answer: ${what}`,
      next: 'look whether it is up, and whether this user may use its socket; then run the command again',
      exit: 'failed',
    })
  }
  if (/not a swarm manager/i.test(why)) {
    return new BackoutError({
      ...base,
      code: 'not_a_manager',
      what: `The Docker Engine at ${engine} is no manager of a swarm`,
      next: 'name a manager in `engine` (`docker node ls` on it lists the nodes)',
      exit: 'blocked',
    })
  }
  if (/does not have a leader|raft: .*quorum|context deadline exceeded/i.test(why)) {
    return new BackoutError({
      ...base,
      code: 'swarm_no_quorum',
      what: `The swarm of ${engine} has no leader: too few of its managers can be reached`,
      next: 'bring managers back, or `docker swarm init --force-new-cluster` on one that is well; running tasks go on meanwhile',
      exit: 'failed',
    })
  }
  return new BackoutError({
    ...base,
    code: 'engine_refused',
    what: `The Docker Engine at ${engine} refused: ${what} (${status})`,
    next: 'look at the cause, and at the log of the engine',
    exit: 'failed',
  })
}

/** What a call is given besides the signal. */
export function given(more: object, options: never): never {
  return { ...more, ...(options as object) } as never
}

/** The HTTP status that an error of `ask` came with; null where there was no answer. */
export function statusOf(error: unknown): number | null {
  const cause = error instanceof BackoutError ? error.cause : error
  return (cause as { statusCode?: number } | undefined)?.statusCode ?? null
}

/** The answer, or null where the engine does not know the thing. */
export async function orNull<T>(answer: Promise<T>): Promise<T | null> {
  try {
    return await answer
  } catch (error) {
    if (statusOf(error) === 404) return null
    throw error
  }
}
