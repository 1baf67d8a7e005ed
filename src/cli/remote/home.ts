import { parseDocument } from 'yaml'
import { BackoutError } from '../../core/errors.ts'

/** A home on another machine. */
export interface RemoteHome {
  /** As ssh takes it: "ops1", "backout@ops1". */
  readonly address: string
  readonly port: string | null
  /** Absolute, on that machine. */
  readonly path: string
  /** How Backout is called there: words for its shell. */
  readonly command: string
}

const URL =
  /^ssh:\/\/(?<address>(?:[\w][\w.-]*@)?(?:[\w][\w.-]*|\[[0-9A-Fa-f:.]+\]))(?::(?<port>\d{1,5}))?(?<path>\/.*)?$/

/** The remote home that a configuration names; null where it is on this machine, or the text is no YAML. */
export function remoteHome(file: string, text: string): RemoteHome | null {
  const document = parseDocument(text, { prettyErrors: false })
  if (document.errors.length > 0) return null
  const said = (document.toJS({ maxAliasCount: 1000 }) as { home?: unknown } | null)?.home
  const { at, command } =
    typeof said === 'string' ? { at: said } : ((said ?? {}) as { at?: unknown; command?: unknown })
  if (typeof at !== 'string' || !at.startsWith('ssh://')) return null
  const { address, port, path } = URL.exec(at)?.groups ?? {}
  const clean = (path ?? '').replace(/\/+$/, '')
  if (address === undefined || clean === '' || /[\0-\x1f]/.test(clean)) throw invalid(file, at)
  return {
    address: address.replace(/\[(.*)\]/, '$1'),
    port: port ?? null,
    path: clean,
    command: typeof command === 'string' && command.trim() !== '' ? command : 'backout',
  }
}

function invalid(file: string, at: string): BackoutError {
  return new BackoutError({
    code: 'home_invalid',
    what: `\`home: ${at}\` in ${file} names no folder on another machine`,
    next: 'write a host and an absolute path: home: ssh://ops1/var/lib/backout, or ssh://user@ops1:2222/var/lib/backout',
    exit: 'usage',
  })
}
