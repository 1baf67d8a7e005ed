import { randomBytes } from 'node:crypto'
import { type Client, connect } from './client.ts'
import { type Cluster, type ClusterOptions, startCluster } from './index.ts'
import { type Kubectl, kubectl } from './kubectl.ts'
import { withImages } from './real/images.ts'
import { type Names, namesOf, type Powers, powersOver, REAL } from './real/index.ts'

/** A namespace of a cluster that the tests may do anything in. */
export interface Place extends Powers, Names {
  /** The stand-in; null: a real cluster, named by BACKOUT_TEST_KUBECONFIG. */
  readonly standIn: Cluster | null
  readonly kubeconfig: string
  readonly namespace: string
  readonly client: Client
  readonly kubectl: Kubectl
  dispose(): Promise<void>
}

export const isReal = REAL !== null

/** A stand-in, or a new namespace of the real cluster that BACKOUT_TEST_KUBECONFIG names, unless a stand-in is wanted. */
export async function makePlace(options: ClusterOptions = {}, o: { standIn?: boolean } = {}): Promise<Place> {
  const namespace = `backout-test-${randomBytes(4).toString('hex')}`
  const standIn = isReal && o.standIn !== true ? null : await startCluster(options)
  const kubeconfig = standIn?.kubeconfig ?? REAL ?? ''
  if (standIn === null) await withImages(kubectl(kubeconfig, 'default'))
  const client = await connect(kubeconfig)
  const made = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } }
  await client.must('POST', '/api/v1/namespaces', made)
  await client.until(`/api/v1/namespaces/${namespace}/serviceaccounts/default`, () => true)
  return {
    ...powersOver(standIn),
    ...(await namesOf(kubeconfig)),
    standIn,
    kubeconfig,
    namespace,
    client,
    kubectl: kubectl(kubeconfig, namespace),
    async dispose() {
      if (standIn === null) await client.must('DELETE', `/api/v1/namespaces/${namespace}`)
      client.close()
      await standIn?.stop()
    },
  }
}
