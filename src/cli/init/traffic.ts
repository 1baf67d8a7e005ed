import { join } from 'node:path'
import { type Candidate, type Finds, NOTHING_FOUND, nameFrom } from './found.ts'
import { isAside, readSmall, type Site } from './site.ts'

interface Parsed {
  readonly socket: string | null
  /** The socket takes commands that change something. */
  readonly admin: boolean
  readonly backends: readonly { name: string; servers: readonly string[] }[]
}

const MOST = 3

/** Backends of HAProxy: of configurations in the folder, and of this machine's own. */
export async function traffic(site: Site): Promise<Finds> {
  const inside = site.files
    .filter(path => /haproxy[^/]*\.cfg$/.test(path) && !isAside(path))
    .map(path => join(site.dir, path))
  const candidates: Candidate[] = []
  for (const path of [...inside, ...site.machine.haproxyConfigs]) {
    const text = await readSmall(path)
    if (text !== null) candidates.push(...candidatesOf(path, parseHaproxy(text)))
  }
  const kept = candidates.slice(0, MOST)
  const only = kept.length === 1
  return { ...NOTHING_FOUND, candidates: kept.map(c => (only ? { ...c, id: 'traffic' } : c)) }
}

function candidatesOf(file: string, { socket, admin, backends }: Parsed): Candidate[] {
  return backends.map(({ name, servers }): Candidate => {
    const maintenance = servers.find(server => /maint|sorry|fallback/i.test(server))
    return {
      id: nameFrom(`traffic-${name}`, 'traffic'),
      adapter: 'haproxy',
      what: `HAProxy backend ${name} (${servers.join(', ')}) in ${file}`,
      about: [`Users come through the backend ${name} of HAProxy (${file}).`],
      settings: {
        socket: socket ?? '/run/haproxy/admin.sock',
        backend: name,
        ...(maintenance === undefined ? {} : { maintenance }),
      },
      hints: [
        ...(maintenance === undefined ? ['maintenance: sorry   # the server that shows the maintenance page'] : []),
        'return: [10, 50, 100]   # traffic comes back in steps, each held by a gate:',
        'gate: healthy',
      ],
      layer: 'traffic',
      held: heldBy(file, socket, admin),
    }
  })
}

function heldBy(file: string, socket: string | null, admin: boolean): string | null {
  if (socket === null) return `${file} has no \`stats socket\`, by which servers are switched`
  return admin ? null : `the \`stats socket\` of ${file} is not of \`level admin\``
}

/** As much of HAProxy's configuration as tells who serves what. */
export function parseHaproxy(text: string): Parsed {
  let socket: string | null = null
  let admin = false
  let current: { name: string; servers: string[] } | null = null
  const backends: { name: string; servers: string[] }[] = []
  for (const line of text.split('\n')) {
    const [word, name = '', ...rest] = line.replace(/#.*/, '').trim().split(/\s+/)
    if (word === 'stats' && name === 'socket' && !admin) {
      socket = (rest[0] ?? '').replace(/^(unix|ipv4)@/, '')
      admin = /level\s+admin/.test(line)
    } else if (word === 'backend' || word === 'listen') backends.push((current = { name, servers: [] }))
    else if (word === 'global' || word === 'defaults' || word === 'frontend') current = null
    else if (word === 'server' && current !== null) current.servers.push(name)
  }
  return { socket, admin, backends: backends.filter(b => b.servers.length > 0) }
}
