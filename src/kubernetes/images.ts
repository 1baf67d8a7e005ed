import type { KubeObject } from './api/objects.ts'
import type { Case, Say } from './case.ts'
import { digestOf } from './template.ts'

interface Node extends KubeObject {
  status?: { images?: { names?: string[] }[] }
}

type Nodes = KubeObject & { metadata: { continue?: string }; items?: Node[] }

/** Nodes that are asked which images they hold. */
const NODES = 50
/** A kubelet tells of so many, the largest ones (`nodeStatusMaxImages`). */
const TOLD = 50

/**
 * Whether the images of the release can still be had. A registry is not asked, for its credentials are the nodes'; a node
 * that holds the image proves it, and what none holds has to be pulled.
 */
export async function imagesSeen({ site, question, changing }: Case, say: Say): Promise<void> {
  const wanted = new Map<string, string>()
  for (const { pinned, seen, sameImages, sameTemplate } of changing) {
    if (sameImages && sameTemplate) continue
    const here = new Set(
      seen.pods.flatMap(p => (p.status?.containerStatuses ?? []).map(s => digestOf(s.imageID ?? ''))),
    )
    for (const { ref, ids } of Object.values(pinned.images)) {
      const digest = digestOf(ids[0] ?? '')
      if (digest !== null && !here.has(digest)) wanted.set(digest, ref)
    }
  }
  if (wanted.size === 0) return
  // Who may not list nodes is not told anything here; an image that is gone shows within `limits.stuck`.
  const nodes = await site.client.get<Nodes>(`/api/v1/nodes?limit=${NODES}`, question.signal).catch(() => null)
  const held = new Set(
    (nodes?.items ?? []).flatMap(n =>
      (n.status?.images ?? []).flatMap(i => (i.names ?? []).map(name => digestOf(name))),
    ),
  )
  if (held.size === 0) return
  const unseen = [...wanted].filter(([digest]) => !held.has(digest)).map(([, ref]) => ref)
  if (unseen.length === 0) return
  const what = `${unseen.sort().join(', ')} as it was at ${question.release}`
  say(
    'warning',
    'image_unproven',
    tellAll(nodes)
      ? `No node holds ${what}: it has to be pulled`
      : `Whether a node holds ${what} is not known, for not all that nodes hold is told: it may have to be pulled`,
    'see that the registry still has it',
  )
}

/** What they do not name they do not hold. */
function tellAll(nodes: Nodes | null): boolean {
  const isCut = (node: Node) => (node.status?.images ?? []).length >= TOLD
  return !nodes?.metadata.continue && !nodes?.items?.some(isCut)
}
