import { randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { parse } from 'yaml'
import { connect } from '../client.ts'
import type { Cluster } from '../index.ts'
import type { Rule } from '../trouble.ts'

interface Kubeconfig {
  users: { user: object }[]
  clusters: { cluster: Record<string, string> }[]
}

export interface User {
  readonly kubeconfig: string
  /** Its token is not good any more. */
  readonly expire: () => Promise<void>
  readonly dispose: () => Promise<void>
}

/** Whoever has these rights in a namespace and may read `kube-system`, and nothing else. */
export async function userOf(
  { standIn, kubeconfig }: { standIn: Cluster | null; kubeconfig: string },
  namespace: string,
  rules: readonly Rule[],
): Promise<User> {
  const dir = await mkdtemp(join(tmpdir(), 'backout-user-'))
  const made = standIn === null ? await account(kubeconfig, namespace, rules) : stranger(standIn, namespace, rules)
  const config = parse(await readFile(kubeconfig, 'utf8')) as Kubeconfig
  for (const user of config.users) user.user = { token: made.token }
  for (const { cluster } of config.clusters) {
    const { 'certificate-authority': file } = cluster
    if (file !== undefined) cluster['certificate-authority'] = resolve(dirname(kubeconfig), file)
  }
  const path = join(dir, 'kubeconfig')
  await writeFile(path, JSON.stringify(config), { mode: 0o600 })
  return {
    kubeconfig: path,
    expire: made.expire,
    async dispose() {
      await made.expire()
      await made.tidy()
      await rm(dir, { recursive: true, force: true })
    },
  }
}

interface Made {
  readonly token: string
  readonly expire: () => Promise<void>
  readonly tidy: () => Promise<void>
}

const KUBE_SYSTEM = { apiGroups: [''], resources: ['namespaces'], verbs: ['get'], resourceNames: ['kube-system'] }

function stranger({ trouble }: Cluster, namespace: string, rules: readonly Rule[]): Made {
  const token = randomBytes(24).toString('hex')
  trouble.tokens.set(token, [KUBE_SYSTEM, ...rules.map(rule => ({ ...rule, namespace }))])
  return { token, expire: async () => void trouble.tokens.delete(token), tidy: async () => {} }
}

/** A ServiceAccount with a Role; its tokens are good for as long as it is there. */
async function account(kubeconfig: string, namespace: string, rules: readonly Rule[]): Promise<Made> {
  const client = await connect(kubeconfig)
  const name = `backout-${randomBytes(4).toString('hex')}`
  const rbac = '/apis/rbac.authorization.k8s.io/v1'
  const inside = `${rbac}/namespaces/${namespace}`
  const accounts = `/api/v1/namespaces/${namespace}/serviceaccounts`
  const group = 'rbac.authorization.k8s.io'
  const subjects = [{ kind: 'ServiceAccount', name, namespace }]
  const make = (path: string, kind: string, more: object) =>
    client.must('POST', path, { apiVersion: `${group}/v1`, kind, metadata: { name }, ...more })
  await client.must('POST', accounts, { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name } })
  await make(`${inside}/roles`, 'Role', { rules })
  const own = { apiGroup: group, kind: 'Role', name }
  await make(`${inside}/rolebindings`, 'RoleBinding', { subjects, roleRef: own })
  await make(`${rbac}/clusterroles`, 'ClusterRole', { rules: [KUBE_SYSTEM] })
  const all = { apiGroup: group, kind: 'ClusterRole', name }
  await make(`${rbac}/clusterrolebindings`, 'ClusterRoleBinding', { subjects, roleRef: all })
  const asked = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: { expirationSeconds: 3600 } }
  const { status } = await client.must('POST', `${accounts}/${name}/token`, asked)
  return {
    token: (status as { token: string }).token,
    expire: async () => void (await client.ask('DELETE', `${accounts}/${name}`)),
    async tidy() {
      for (const plural of ['clusterrolebindings', 'clusterroles'])
        await client.must('DELETE', `${rbac}/${plural}/${name}`)
      client.close()
    },
  }
}
