import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { connect } from '../support/kubernetes/client.ts'
import { type Cluster, startCluster } from '../support/kubernetes/index.ts'
import { userOf } from '../support/kubernetes/real/user.ts'

interface Kubeconfig {
  clusters: { cluster: Record<string, string> }[]
  users: { user: object }[]
}

/** Whoever has a real cluster gives the tests its kubeconfig as it is. */
describe('the kubeconfig of a cluster that tests run on', () => {
  let dir: string
  let cluster: Cluster
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'backout-kubeconfig-'))
    cluster = await startCluster()
  })
  afterAll(async () => {
    await cluster.stop()
    await rm(dir, { recursive: true, force: true })
  })

  const written = async (edit: (config: Kubeconfig) => unknown) => {
    const config = parse(await readFile(cluster.kubeconfig, 'utf8')) as Kubeconfig
    await edit(config)
    const path = join(dir, 'kubeconfig')
    await writeFile(path, JSON.stringify(config))
    return path
  }
  const answers = async (path: string) => {
    const client = await connect(path)
    try {
      return (await client.ask('GET', '/version')).code
    } finally {
      client.close()
    }
  }

  // As minikube writes it.
  it('may name files, beside itself too', async () => {
    const path = await written(async ({ clusters: [one] }) => {
      const { 'certificate-authority-data': data = '', ...rest } = one?.cluster ?? {}
      await writeFile(join(dir, 'ca.crt'), Buffer.from(data, 'base64'))
      if (one !== undefined) one.cluster = { ...rest, 'certificate-authority': 'ca.crt' }
    })
    expect(await answers(path)).toBe(200)
    const user = await userOf({ standIn: cluster, kubeconfig: path }, 'default', [])
    expect(await answers(user.kubeconfig)).toBe(200)
    await user.dispose()
  })

  it('holds its credentials: a plugin that gives them is named, and not run', async () => {
    const path = await written(({ users: [one] }) => {
      if (one !== undefined) one.user = { exec: { command: 'gke-gcloud-auth-plugin' } }
    })
    await expect(connect(path)).rejects.toThrow(/neither a certificate nor a token/)
  })
})
