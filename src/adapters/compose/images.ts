import type { Question } from '../../core/contract.ts'
import type { Say } from './beside.ts'
import type { Host } from './host.ts'
import { imageOf, type LocalImage } from './look.ts'
import type { ComposePin } from './pin.ts'

type Pinned = ComposePin['services'][number]

const KEEP = 'do not prune images before the release is done with, or push them to a registry'

/** What is there of the release's images, and what their names mean by now. */
export async function sayImages(host: Host, { to, release, signal }: Question<ComposePin>, say: Say): Promise<void> {
  const untold: string[] = []
  for (const service of to.services) {
    const { ref, id, digests } = service
    const local = await imageOf(host, id, signal)
    if (local === null) {
      if (!sayPulled(host, service, release, say)) continue
    } else if (digests.length === 0) {
      const what = `${called(service)} was built there and has no digest: once it is pruned there is no way back to it`
      say('note', 'image_without_digest', what, KEEP)
    } else if (pulledBy(service) === undefined) untold.push(called(service))
    const now = ref.startsWith('sha256:') || ref.includes('@') ? null : await imageOf(host, ref, signal)
    if (now !== null && now.id !== id) sayMoved(host, ref, release, say)
  }
  if (untold.length === 0) return
  const which = `whether a registry has ${untold.join(', ')}`
  say('note', 'image_without_digest', `The engine does not say ${which}: pruned, it may be gone`, KEEP)
}

/** False: nothing tells where it could be pulled from. */
function sayPulled({ config }: Host, service: Pinned, release: string, say: Say): boolean {
  const [own] = service.digests
  const from = pulledBy(service)
  const gone = `${called(service)} in ${release} is no longer on ${config.host}`
  if (from !== undefined) {
    say('warning', 'image_pulled', `${gone}: it will be pulled as ${from}`, `try it now: \`docker pull ${from}\``)
    return true
  }
  const why = own === undefined ? 'it has no digest to pull it by' : 'nothing tells that a registry has it'
  const pull = own === undefined ? '' : `\`docker pull ${own}\` there, where a registry has it; else `
  const next = `${pull}load it again (\`docker load\`), or build it again and deploy that`
  say('blocker', 'image_gone', `${gone}, and ${why}`, next)
  return false
}

function sayMoved({ config }: Host, ref: string, release: string, say: Say): void {
  const what = `${ref} means another image on ${config.host} than in ${release}: it will mean the one of ${release} again`
  say('warning', 'tag_moved', what, 'use tags that are never moved, or deploy by digest')
}

/**
 * A digest by which a registry knows it. An engine whose images lie in containerd calls each by one, also what was built
 * there: by its id once more.
 */
function pulledBy({ id, digests }: LocalImage): string | undefined {
  return digests.find(digest => !digest.endsWith(`@${id}`))
}

function called({ name, ref, id }: Pinned): string {
  return `${ref} (${id.slice(7, 19)}) of ${name}`
}
