import { basename, join } from 'node:path'
import { parseAllDocuments } from 'yaml'
import { type Candidate, type Finds, NOTHING_FOUND } from './found.ts'
import { isAside, readSmall, readYaml, type Site } from './site.ts'

export interface Kubernetes {
  readonly contexts: readonly string[]
  /** The current one; null: there is none. */
  readonly current: string | null
  /** Files with workloads, charts and kustomizations. */
  readonly manifests: readonly string[]
  /** Workloads that are named in them: "deployment/shop". */
  readonly objects: readonly string[]
  /** The one namespace that they name; null: they name none, or several. */
  readonly namespace: string | null
}

interface KubeConfig {
  contexts?: { name?: string }[]
  'current-context'?: string
}

/** Clusters that this user works with, and what the project has for them. */
export async function kubernetesHere(site: Site): Promise<Kubernetes> {
  const contexts: string[] = []
  let current: string | null = null
  for (const path of site.machine.kubeConfigs) {
    const config = (await readYaml(path)) as KubeConfig | null
    current ??= config?.['current-context'] ?? null
    for (const { name } of Array.isArray(config?.contexts) ? config.contexts : [])
      if (name !== undefined) contexts.push(name)
  }
  const charts = site.files.filter(path => ['Chart.yaml', 'kustomization.yaml'].includes(basename(path)))
  const { files, workloads } = await workloadsIn(site)
  const namespaces = new Set(workloads.map(w => w.namespace))
  return {
    contexts,
    current,
    manifests: [...new Set([...charts, ...files])],
    objects: [...new Set(workloads.map(w => w.id))].sort(),
    namespace: namespaces.size === 1 ? (workloads[0]?.namespace ?? null) : null,
  }
}

const WORKLOAD = /^kind:\s*(Deployment|StatefulSet|DaemonSet|Rollout|CronJob)\b/m
const TAKEN_BACK = ['Deployment', 'StatefulSet', 'DaemonSet', 'Rollout']
/** Files that are looked into. */
const MOST = 200

interface Manifest {
  kind?: string
  metadata?: { name?: string; namespace?: string }
}

async function workloadsIn(site: Site) {
  const files: string[] = []
  const workloads: { id: string; namespace: string | null }[] = []
  for (const path of site.files.filter(p => /\.ya?ml$/.test(p) && !isAside(p)).slice(0, MOST)) {
    const text = (await readSmall(join(site.dir, path))) ?? ''
    if (!WORKLOAD.test(text)) continue
    files.push(path)
    for (const { kind = '', metadata } of manifestsIn(text)) {
      const { name, namespace = null } = metadata ?? {}
      if (TAKEN_BACK.includes(kind) && typeof name === 'string')
        workloads.push({ id: `${kind.toLowerCase()}/${name}`, namespace })
    }
  }
  return { files, workloads }
}

/** Templates of charts are no YAML: they name nothing that could be looked up. */
function manifestsIn(text: string): Manifest[] {
  if (text.includes('{{')) return []
  const all = parseAllDocuments(text, { logLevel: 'silent' })
  const values = Array.isArray(all) ? all.map(doc => (doc.errors.length > 0 ? null : (doc.toJS() as unknown))) : []
  return values.filter((value): value is Manifest => value !== null && typeof value === 'object')
}

/** The workloads of the project's manifests and charts, in the cluster that kubectl speaks to now. */
export async function workloads(site: Site): Promise<Finds> {
  const { current, objects, namespace } = await kubernetesHere(site)
  if (current === null) return NOTHING_FOUND
  const where = { context: current, ...(namespace === null ? {} : { namespace }) }
  const rollouts = objects.filter(id => id.startsWith('rollout/'))
  const others = objects.filter(id => !rollouts.includes(id))
  const names = rollouts.map(id => id.slice('rollout/'.length))
  const candidates: Candidate[] = [
    ...(others.length === 0 ? [] : [wish('workloads', 'kubernetes', others, { ...where, objects: others })]),
    ...(names.length === 0 ? [] : [wish('rollouts', 'argo-rollouts', rollouts, { ...where, rollouts: names })]),
    ...(await releases(site, current)),
  ]
  return { ...NOTHING_FOUND, candidates }
}

function wish(id: string, adapter: string, objects: readonly string[], settings: Candidate['settings']): Candidate {
  return {
    id,
    adapter,
    what: `${objects.slice(0, 5).join(', ')} in the Kubernetes context ${settings['context'] as string}`,
    about: ['What runs on Kubernetes, as the manifests here name it.'],
    settings,
    hints: ['pinned: [secret/NAME]   # goes back with the release too; other Secrets keep what they hold today'],
    layer: 'app',
    held: null,
  }
}

/** Releases are mostly called as their chart is; whether this one is there, helm is asked. */
async function releases(site: Site, context: string): Promise<Candidate[]> {
  const charts = site.files.filter(
    path => basename(path) === 'Chart.yaml' && !isAside(path) && !path.includes('charts/'),
  )
  const found = await Promise.all(
    charts.map(path => readYaml(join(site.dir, path)) as Promise<{ name?: unknown } | null>),
  )
  return found.flatMap((chart): Candidate[] => {
    const release = chart?.name
    if (typeof release !== 'string') return []
    return [
      {
        id: release,
        adapter: 'helm',
        what: `release ${release} of Helm in the Kubernetes context ${context}`,
        about: ['The release of the chart here, by the name of the chart.'],
        settings: { context, release },
        hints: ['namespace: NAME   # where it is installed; by default the namespace of the context'],
        layer: 'app',
        held: null,
      },
    ]
  })
}
