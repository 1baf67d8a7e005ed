import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Kubectl } from '../kubectl.ts'
import { fullName } from '../kubelet/registry.ts'
import { daemonSet, IMAGES } from '../manifests.ts'

const LIMIT_MS = 300_000
/** A kubelet tells of so many, the largest ones: of the others nobody knows. */
const TOLD = 50

interface Node {
  metadata: { name: string }
  spec: { unschedulable?: boolean; taints?: object[] }
  status: { images?: { names?: string[] }[] }
}

/** Nodes that take any pod: others (a control plane's, a cordoned one) keep them away. */
export async function openNodes(kubectl: Kubectl): Promise<Node[]> {
  const { items } = JSON.parse(await kubectl('get', 'nodes', '-o', 'json')) as { items: Node[] }
  return items.filter(({ spec }) => spec.unschedulable !== true && (spec.taints ?? []).length === 0)
}

/**
 * Before anything is timed, real nodes have the images of the tests and tell that they have: a kubelet that has pulled
 * one for the first time tells of it half a minute later, and until then Backout rightly warns that nobody proves it.
 */
export async function withImages(admin: Kubectl): Promise<void> {
  if ((await lacking(admin)).length === 0) return
  const name = `backout-test-images-${randomBytes(4).toString('hex')}`
  const pulls = daemonSet('images', IMAGES.old, {
    pod: {
      containers: [
        { name: 'old', image: IMAGES.old },
        { name: 'new', image: IMAGES.new },
        { name: 'shell', image: IMAGES.shell, command: ['sh', '-c', 'exec sleep 100000'] },
      ],
    },
  })
  await admin.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } })
  try {
    await admin.apply({ ...pulls, metadata: { ...pulls.metadata, namespace: name } }, '--namespace', name)
    const end = Date.now() + LIMIT_MS
    for (let left = await lacking(admin); left.length > 0; left = await lacking(admin)) {
      if (Date.now() > end)
        throw new Error(`${left.join('; ')}: name images that they can have (BACKOUT_TEST_IMAGE_GOOD, _BAD, _SHELL)`)
      await sleep(1_000)
    }
  } finally {
    await admin('delete', 'namespace', '--wait=false', name)
  }
}

async function lacking(admin: Kubectl): Promise<string[]> {
  const wanted = [IMAGES.old, IMAGES.new, IMAGES.shell]
  return (await openNodes(admin)).flatMap(({ metadata, status: { images = [] } }) => {
    const names = images.flatMap(image => image.names ?? [])
    const not = images.length >= TOLD ? [] : wanted.filter(image => !names.includes(fullName(image)))
    return not.length === 0 ? [] : [`${metadata.name} does not get ${not.join(', ')} within ${LIMIT_MS / 1000} s`]
  })
}
