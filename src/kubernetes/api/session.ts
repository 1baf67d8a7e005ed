import { resolve } from 'node:path'
import type { RequestContext } from '@kubernetes/client-node'
import type { KubeConfig } from '@kubernetes/client-node/dist/config.js'
import type { Dispatcher } from 'undici'
import { BackoutError, messageOf } from '../../core/errors.ts'
import { remember } from '../../core/secret.ts'

export interface Credentials {
  readonly headers: Readonly<Record<string, string>>
  readonly dispatcher: Dispatcher
  /** Counts how often they were renewed. */
  readonly generation: number
}

/** The API server of one context, and who one is there. */
export interface Session extends AsyncDisposable {
  readonly server: string
  readonly context: string
  /** The namespace of the context. */
  readonly namespace: string
  /** Tokens of files and exec plugins are fresh each time. */
  credentials(): Promise<Credentials>
  /**
   * Reads the kubeconfig again and asks plugins anew, once for all who were refused with the same credentials: what was
   * refused may have been rotated.
   */
  renew(refused: number): Promise<void>
}

interface Place {
  readonly kubeconfig: string | undefined
  readonly context: string | undefined
  readonly baseDir: string
}

let loaded: Promise<typeof import('undici')> | null = null

/** Asked for by each request: an import, though it is loaded, would take each of them through the loader. */
export function undici(): Promise<typeof import('undici')> {
  return (loaded ??= import('undici'))
}

/** Reads the user's kubeconfig as kubectl does, through the official client: contexts, certificates, tokens, exec plugins. */
export async function openSession(place: Place): Promise<Session> {
  let config = await load(place)
  let generation = 0
  let renewing: Promise<void> | null = null
  let asking: Promise<Credentials> | null = null
  const agents = new Agents()
  let closed = false
  const context = config.getCurrentContext()
  const renew = async () => {
    await asking?.catch(() => {})
    config = await load({ ...place, context })
    agents.retire()
    asking = null
    generation++
  }
  const ask = (): Promise<Credentials> => {
    const asked = credentialsOf(config, agents).then(found => ({ ...found, generation }))
    const forget = () => {
      if (asking === asked) asking = null
    }
    asked.then(isFixed(config) ? () => {} : forget, forget)
    return asked
  }
  return {
    server: serverOf(config),
    context,
    namespace: config.getContextObject(context)?.namespace ?? 'default',
    // All who ask at the same time get one answer: a plugin may take a second, or ask a person.
    credentials: async () => {
      if (closed) throw unusable(`The connection to the context ${context} was closed`)
      return (asking ??= ask())
    },
    renew: async refused => {
      if (refused !== generation) return
      renewing ??= renew().finally(() => (renewing = null))
      await renewing
    },
    [Symbol.asyncDispose]: () => {
      closed = true
      return agents.close()
    },
  }
}

async function load(place: Place): Promise<KubeConfig> {
  // Not the whole client: the models of every API are 60 MB and half a second, and drop fields that they do not know.
  const { KubeConfig: Config } = await import('@kubernetes/client-node/dist/config.js')
  const config = new Config()
  try {
    if (place.kubeconfig === undefined) config.loadFromDefault()
    else config.loadFromFile(resolve(place.baseDir, place.kubeconfig))
  } catch (error) {
    throw unusable(`The kubeconfig ${place.kubeconfig ?? 'of kubectl'} cannot be read`, messageOf(error))
  }
  if (place.context !== undefined) config.setCurrentContext(place.context)
  const known = config.getContexts().map(c => c.name)
  const name = config.getCurrentContext()
  if (!name || !known.includes(name)) {
    const which = name ? `no context ${name}` : 'no current context'
    throw unusable(`The kubeconfig has ${which}`, `it has ${known.join(', ') || 'none'}`)
  }
  const cluster = config.getCurrentCluster()
  if (cluster === null) throw unusable(`The context ${name} names a cluster that the kubeconfig does not have`)
  // Without TLS there is nothing to verify; the client wants that said.
  if (cluster.server.startsWith('http:')) Object.assign(cluster, { skipTLSVerify: true })
  tellPlugin(config, cluster)
  return config
}

/** Some plugins want to be told what kubectl tells them: which version of their answer is read. */
function tellPlugin(config: KubeConfig, cluster: { server: string }): void {
  const exec = config.getCurrentUser()?.exec as { apiVersion?: string; env?: { name: string; value: string }[] } | null
  if (!exec) return
  const apiVersion = exec.apiVersion ?? 'client.authentication.k8s.io/v1'
  const info = { apiVersion, kind: 'ExecCredential', spec: { cluster: { server: cluster.server }, interactive: false } }
  exec.env = [...(exec.env ?? []), { name: 'KUBERNETES_EXEC_INFO', value: JSON.stringify(info) }]
}

/** What the kubeconfig says itself stays as it is until it is refused; plugins and files give out something new. */
function isFixed(config: KubeConfig): boolean {
  const user = config.getCurrentUser()
  return !user?.exec && !user?.authProvider
}

async function credentialsOf(config: KubeConfig, agents: Agents): Promise<Omit<Credentials, 'generation'>> {
  const headers: Record<string, string> = {}
  let secured: Dispatcher | null = null
  const context = {
    setHeaderParam: (name: string, value: string) => void (headers[name] = value),
    setDispatcher: (dispatcher: Dispatcher) => void (secured = dispatcher),
  }
  try {
    await config.applySecurityAuthentication(context as unknown as RequestContext)
  } catch (error) {
    throw unusable(`The credentials of the context ${config.getCurrentContext()} cannot be had`, messageOf(error))
  }
  const token = headers['Authorization']?.split(' ')[1]
  if (token !== undefined) remember(token)
  return { headers, dispatcher: await agents.of(secured) }
}

/** Keeps the connections of the first dispatcher: the client makes one anew for each request. */
class Agents {
  readonly #retired: Dispatcher[] = []
  #kept: Dispatcher | null = null

  async of(made: Dispatcher | null): Promise<Dispatcher> {
    if (this.#kept !== null) return this.#kept
    const { Agent } = await undici()
    this.#kept ??= made ?? new Agent()
    return this.#kept
  }

  /** New requests get other connections, for certificates may have changed. Those under way end by themselves. */
  retire(): void {
    if (this.#kept !== null) this.#retired.push(this.#kept)
    this.#kept = null
  }

  async close(): Promise<void> {
    this.retire()
    await Promise.all(this.#retired.map(agent => agent.destroy().catch(() => {})))
  }
}

function serverOf(config: KubeConfig): string {
  return config.getCurrentCluster()?.server.replace(/\/+$/, '') ?? ''
}

function unusable(what: string, cause?: string): BackoutError {
  return new BackoutError({
    code: 'kubeconfig_unusable',
    what,
    cause: cause?.trim() || undefined,
    next: 'see that `kubectl --context CONTEXT get pods` works here, and that `kubeconfig:` and `context:` are right',
    exit: 'blocked',
  })
}
