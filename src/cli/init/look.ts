import { KINDS } from '../../adapters/registry.ts'
import { apps, folderName, unitsFor } from './app.ts'
import { databases, otherDatabases } from './databases.ts'
import { files } from './files.ts'
import { type Candidate, COMMENTED, type Finds, join, nameFrom, type Seen } from './found.ts'
import { workloads } from './kubernetes.ts'
import { others } from './others.ts'
import { projects } from './projects.ts'
import { databaseServers } from './servers.ts'
import { type Machine, openSite, type Site } from './site.ts'
import { stacks } from './swarm.ts'
import { traffic } from './traffic.ts'
import { tryOut } from './trial.ts'

/** What was found, and what of it will be written. */
export interface Survey extends Finds {
  readonly site: Site
  readonly environment: string
}

/** Looks through a folder, and at what on this machine belongs to it. Reads only. */
export async function survey(dir: string, machine?: Machine): Promise<Survey> {
  const site = await openSite(dir, machine)
  const units = await unitsFor(site)
  const app = await tried(site, join([await apps(site, units), await workloads(site)]))
  const runIn = app.candidates.find(c => c.held === null)?.id ?? null
  const stores = join([await databases(site, runIn), await databaseServers(site, runIn)])
  const data = await tried(site, join([stores, await files(site)]))
  const found = stores.candidates.map(c => c.adapter)
  const front = await tried(site, await traffic(site))
  const served = app.candidates.some(c => c.held === null && c.settings['service'] !== undefined)
  const running = await runningProjects(site)
  const swarm = await tried(site, await stacks(site))
  const taken = [...running.candidates.map(c => c.what), ...swarm.candidates.map(c => c.what)]
  const left = await others(site, served ? [] : units, KINDS, taken)
  const rest = join([await otherDatabases(site, KINDS, found), left])
  const all = join([data, app, running, swarm, front, rest])
  return { ...all, seen: [...gitSeen(site), ...all.seen], site, environment: nameOf(site) }
}

/** Only what answers is written live: doctor will ask it again. */
async function tried(site: Site, finds: Finds): Promise<Finds> {
  const candidates = await Promise.all(
    unique(finds.candidates).map(async c => ({ ...c, held: c.held ?? (await whyHeld(site, c)) })),
  )
  const seen = candidates.map(
    (c): Seen => ({ what: c.what, then: c.held === null ? `component ${c.id}` : `${COMMENTED}: ${c.held}` }),
  )
  return { ...finds, candidates, seen: [...seen, ...finds.seen] }
}

/** Projects of Compose that run here; of others nobody knows where they do, and they are told as a comment. */
async function runningProjects(site: Site): Promise<Finds> {
  const { candidates } = await tried(site, await projects(site))
  const live = candidates.filter(c => c.held === null)
  return { candidates: live, seen: live.map(c => ({ what: c.what, then: `component ${c.id}` })), paragraphs: [] }
}

async function whyHeld(site: Site, candidate: Candidate): Promise<string | null> {
  if (!KINDS.includes(candidate.adapter)) return `there is no adapter ${candidate.adapter}`
  const observed = await tryOut(candidate, site.dir)
  if (typeof observed === 'string') return observed.split('\n')[0] ?? observed
  if (candidate.adapter === 'compose') {
    const { services } = observed.state as { services: object }
    return Object.keys(services).length === 0 ? 'no container of it is here' : null
  }
  if (candidate.adapter === 'helm') {
    const { release } = observed.state as { release: unknown }
    return release === null ? 'helm knows no release of that name there' : null
  }
  if (candidate.adapter === 'kubernetes' || candidate.adapter === 'argo-rollouts') {
    const { objects } = observed.state as { objects: Record<string, unknown> }
    const gone = Object.keys(objects).filter(id => objects[id] === null)
    return gone.length === 0 ? null : `${gone.join(', ')} is not in that namespace`
  }
  if (candidate.adapter !== 'hosts') return null
  const { hosts } = observed.state as { hosts: Record<string, { release?: string | null }> }
  return hosts['local']?.release == null ? 'the link leads to no release folder' : null
}

/** Names that two finds came to share get a number. */
function unique(candidates: readonly Candidate[]): Candidate[] {
  const taken = new Map<string, number>()
  return candidates.map(c => {
    const n = (taken.get(c.id) ?? 0) + 1
    taken.set(c.id, n)
    return n === 1 ? c : { ...c, id: `${c.id}-${n}` }
  })
}

function gitSeen({ repository }: Site): Seen[] {
  if (repository === null) return []
  const { name, branch, remote } = repository
  const parts = [branch === null ? 'no branch' : `branch ${branch}`, remote === null ? 'no remote' : 'remote origin']
  return [
    { what: `Git repository ${name} (${parts.join(', ')})`, then: `environment ${nameOf({ repository, dir: name })}` },
  ]
}

function nameOf({ repository, dir }: Pick<Site, 'repository' | 'dir'>): string {
  return nameFrom(repository?.name ?? folderName(dir), 'production')
}
