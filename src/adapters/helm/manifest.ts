import { parseAllDocuments } from 'yaml'
import { type Kind, parseId, type Template } from '../../kubernetes/api/objects.ts'
import { refsOf } from '../../kubernetes/template.ts'

interface Document {
  kind?: string
  metadata?: { name?: string; namespace?: string; annotations?: Record<string, string> }
  spec?: { template?: Template }
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

function documents(manifest: string): Document[] {
  return parseAllDocuments(manifest)
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

/** "post-rollback: job/migrate", for the hooks that a rollback runs. */
export function rollbackHooks(hooks: string): string[] {
  return documents(hooks).flatMap(({ kind = '', metadata }) => {
    const events = (metadata?.annotations?.['helm.sh/hook'] ?? '').split(',').map(event => event.trim())
    const own = events.filter(event => event === 'pre-rollback' || event === 'post-rollback')
    return own.map(event => `${event}: ${kind.toLowerCase()}/${metadata?.name ?? ''}`)
  })
}
