import { type DocumentOptions, parseAllDocuments, type ParseOptions, type SchemaOptions } from 'yaml'
import { type Kind, parseId, type Template } from '../../kubernetes/api/objects.ts'
import { refsOf } from '../../kubernetes/template.ts'

interface Document {
  apiVersion?: string
  kind?: string
  metadata?: {
    name?: string
    namespace?: string
    annotations?: Record<string, string>
    labels?: Record<string, string>
  }
  spec?: { template?: Template }
  [field: string]: unknown
}

/** A Deployment, StatefulSet or DaemonSet of a release. */
export interface Member {
  /** "deployment/shop". */
  readonly id: string
  readonly kind: Kind
  readonly name: string
  readonly namespace: string
  /** Image of each container, as the release names it. */
  readonly refs: Readonly<Record<string, string>>
}

const WORKLOADS = ['Deployment', 'StatefulSet', 'DaemonSet']

/** An object of a release as its manifest says it, of a kind whose fields are compared with what is there. */
export interface Item {
  /** "configmap/shop". */
  readonly id: string
  readonly path: string
  readonly namespace: string
  readonly fields: Readonly<Record<string, unknown>>
}

/** Plurals of the kinds that say what runs, and how users get there. Other kinds may be rewritten by whoever serves them. */
const COMPARED: Readonly<Record<string, string>> = {
  ConfigMap: 'configmaps',
  CronJob: 'cronjobs',
  DaemonSet: 'daemonsets',
  Deployment: 'deployments',
  HorizontalPodAutoscaler: 'horizontalpodautoscalers',
  Ingress: 'ingresses',
  Secret: 'secrets',
  Service: 'services',
  StatefulSet: 'statefulsets',
}

/** Helm reads YAML 1.1, but for dates and times, which are texts to it: 0644 is octal, and `yes` is true. */
const AS_HELM: ParseOptions & DocumentOptions & SchemaOptions = {
  version: '1.1',
  customTags: tags =>
    tags.filter(tag => typeof tag === 'string' || (tag.tag !== 'tag:yaml.org,2002:timestamp' && !isTime(tag))),
}

function isTime(tag: object): boolean {
  return 'format' in tag && tag.format === 'TIME'
}

function documents(manifest: string): Document[] {
  return parseAllDocuments(manifest, AS_HELM)
    .map(document => document.toJS() as Document | null)
    .filter(document => document !== null && typeof document === 'object')
}

export function members(manifest: string, namespace: string): Member[] {
  return documents(manifest).flatMap(({ kind = '', metadata, spec }) => {
    if (!WORKLOADS.includes(kind) || metadata?.name === undefined || spec?.template === undefined) return []
    const id = `${kind.toLowerCase()}/${metadata.name}`
    return [{ id, ...parseId(id), namespace: metadata.namespace ?? namespace, refs: refsOf(spec.template) }]
  })
}

/** Of all that is in it: apiVersion and kind, each once. A list is what is in it. */
export function kindsOf(manifest: string): (readonly [string, string])[] {
  const each = (one: Document): Document[] =>
    Array.isArray(one['items']) ? (one['items'] as Document[]).flatMap(each) : [one]
  const all = documents(manifest)
    .flatMap(each)
    .flatMap(({ apiVersion, kind }) => {
      return apiVersion === undefined || kind === undefined ? [] : [[apiVersion, kind] as const]
    })
  return [...new Map(all.map(one => [one.join(' '), one])).values()]
}

export function items(manifest: string, namespace: string): Item[] {
  return documents(manifest).flatMap(({ apiVersion = '', kind = '', metadata, ...rest }) => {
    const plural = COMPARED[kind]
    if (plural === undefined || metadata?.name === undefined) return []
    const { name, namespace: own = namespace } = metadata
    const path = `${apiVersion === 'v1' ? '/api' : '/apis'}/${apiVersion}/namespaces/${own}/${plural}/${name}`
    const { status: _, ...body } = rest
    // Where users are sent may stand in annotations: the weight of a canary, a balancer's backend.
    const fields = { ...body, metadata: { annotations: metadata.annotations, labels: metadata.labels } }
    return [
      {
        id: `${kind.toLowerCase()}/${name}`,
        path,
        namespace: own,
        fields: kind === 'Secret' ? stored(fields) : fields,
      },
    ]
  })
}

/** A Secret's texts, as the API server keeps them. */
function stored({ stringData = {}, data = {}, ...fields }: Record<string, unknown>): Record<string, unknown> {
  const given = Object.entries((data ?? {}) as object).map(([key, value]) => [key, String(value).replaceAll(/\s/g, '')])
  const texts = Object.entries((stringData ?? {}) as object).map(([key, value]) => {
    return [key, Buffer.from(String(value)).toString('base64')]
  })
  return { ...fields, data: Object.fromEntries([...given, ...texts]) as Record<string, string> }
}

/** "post-rollback: job/migrate", for the hooks that a rollback runs. */
export function rollbackHooks(hooks: string): string[] {
  return documents(hooks).flatMap(({ kind = '', metadata }) => {
    const events = (metadata?.annotations?.['helm.sh/hook'] ?? '').split(',').map(event => event.trim())
    const own = events.filter(event => event === 'pre-rollback' || event === 'post-rollback')
    return own.map(event => `${event}: ${kind.toLowerCase()}/${metadata?.name ?? ''}`)
  })
}
