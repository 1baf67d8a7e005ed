import { type Api } from '../api.ts'
import { shortHash } from '../names.ts'
import { copy, type ControllerRevision, type Obj, omit, type PodTemplate, same } from '../types.ts'
import { controlledBy, create, ownerReference, write } from './owned.ts'

export const REVISION_LABEL = 'controller-revision-hash'
const HASH_LABEL = 'controller.kubernetes.io/hash'

interface Versioned extends Obj {
  spec: { template: PodTemplate; revisionHistoryLimit: number }
}

export function revisions(api: Api, set: Obj): ControllerRevision[] {
  const all = controlledBy<ControllerRevision>(api, set, api.resources.key('apps/controllerrevisions'))
  return all.sort((a, b) => a.revision - b.revision || a.metadata.name.localeCompare(b.metadata.name))
}

/**
 * The revision of the set's template now: the newest one, an older one that is renumbered, or a new one
 * (pkg/controller/statefulset: getStatefulSetRevisions; pkg/controller/daemon: constructHistory).
 */
export function updateRevision(api: Api, set: Versioned): ControllerRevision {
  const all = revisions(api, set)
  const kind = api.resources.key('apps/controllerrevisions')
  const next = (all.at(-1)?.revision ?? 0) + 1
  const data = dataOf(set.spec.template)
  const equal = all.findLast(revision => same(revision.data, data))
  if (equal !== undefined) {
    return equal === all.at(-1) ? equal : write(api, kind, { ...equal, revision: next })
  }
  const hash = shortHash(data)
  return create(api, kind, set.metadata.namespace, {
    metadata: {
      name: `${set.metadata.name}-${hash}`,
      labels: { ...set.spec.template.metadata?.labels, [HASH_LABEL]: hash },
      annotations: { ...set.metadata.annotations },
      ownerReferences: [ownerReference(set)],
    },
    data,
    revision: next,
  }) as ControllerRevision
}

export function hashOf(revision: ControllerRevision): string {
  return revision.metadata.labels?.[HASH_LABEL] ?? ''
}

function dataOf(template: PodTemplate): ControllerRevision['data'] {
  return { spec: { template: { ...copy(template), $patch: 'replace' } } }
}

/** The template that a revision keeps. */
export function templateOf(revision: ControllerRevision): PodTemplate {
  return omit(copy(revision.data.spec.template), '$patch')
}

/** Deletes the oldest revisions that no pod has beyond the limit. */
export function truncate(api: Api, set: Versioned, live: ReadonlySet<string>): void {
  const idle = revisions(api, set).filter(revision => !live.has(revision.metadata.name))
  for (const revision of idle.slice(0, Math.max(0, idle.length - set.spec.revisionHistoryLimit))) {
    api.delete(api.resources.key('apps/controllerrevisions'), revision.metadata.namespace, revision.metadata.name)
  }
}
