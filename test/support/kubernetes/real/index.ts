import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from '../client.ts'
import type { Cluster } from '../index.ts'
import type { ImageSpec } from '../kubelet/registry.ts'
import { RealRegistry } from './registry.ts'
import { openWire, type Wire } from './wire.ts'

/** Kubeconfig of a real cluster to run the tests against; null: each starts a stand-in. */
export const REAL = process.env['BACKOUT_TEST_KUBECONFIG'] || null
/** Address of a registry that the cluster pulls from, and that tests may push to. */
const REGISTRY = process.env['BACKOUT_TEST_REGISTRY']
/** The folder of a cluster that tools/kubernetes/cluster.sh runs for the tests alone. */
const OWN = process.env['BACKOUT_TEST_CLUSTER']

const lacks = (there: boolean, what: string) => (REAL === null || there ? null : `(${what})`)
/** Why tests are skipped on this real cluster; null where they are not. */
export const noPush = lacks(REGISTRY !== undefined, 'BACKOUT_TEST_REGISTRY names none to push to')
export const notOwn = lacks(
  OWN !== undefined,
  'touches what all of a cluster share: BACKOUT_TEST_CLUSTER names no own one',
)
export const noStop = lacks(
  OWN !== undefined && process.env['BACKOUT_TEST_ALONE'] === '1',
  'stops the API server for everybody: BACKOUT_TEST_ALONE does not say that nobody else is at it',
)
export const noArgo = lacks(
  process.env['BACKOUT_TEST_ARGO_ROLLOUTS'] === '1',
  'BACKOUT_TEST_ARGO_ROLLOUTS does not say that its controller is there',
)
export const onlyStandIn = lacks(false, 'only the stand-in can be told to')

/** What tests do to a cluster that no API offers. */
export interface Powers {
  /** Makes an image pullable, or moves its tag. Resolves with the digest. */
  push(reference: string, spec?: Pick<ImageSpec, 'log' | 'shell'>): Promise<string>
  /** A way to it on which bad luck happens. The stand-in has it itself. */
  wire(): Promise<Wire>
  /** Stops the API server, for everybody; everything else goes on. */
  goAway(): Promise<void>
  comeBack(): Promise<void>
}

export function powersOver(standIn: Cluster | null): Powers {
  if (standIn !== null) {
    return {
      push: async (reference, spec) => standIn.registry.push(reference, spec),
      wire: async () => ({
        kubeconfig: standIn.kubeconfig,
        token: standIn.token,
        trouble: standIn.trouble,
        goAway: () => standIn.goAway(),
        comeBack: () => standIn.comeBack(),
        forget: () => standIn.forget(),
        close: async () => {},
      }),
      goAway: () => standIn.goAway(),
      comeBack: () => standIn.comeBack(),
    }
  }
  return {
    wire: () => openWire(REAL ?? ''),
    push: (reference, spec) => new RealRegistry(REGISTRY ?? '').push(reference, spec),
    async goAway() {
      await writeFile(away(), '')
      await reachable(false)
    },
    async comeBack() {
      await rm(away(), { force: true })
      await reachable(true)
    },
  }
}

const away = (): string => join(OWN ?? '', 'away')

async function reachable(wanted: boolean): Promise<void> {
  const end = Date.now() + 60_000
  const client = await connect(REAL ?? '')
  try {
    for (;;) {
      const is = await client.ask('GET', '/api/v1/namespaces/default').then(
        ({ code }) => code === 200,
        () => false,
      )
      if (is === wanted) return
      if (Date.now() > end) throw new Error(`the API server is ${is ? 'still' : 'not'} there after a minute`)
      await sleep(50)
    }
  } finally {
    client.close()
  }
}

/** What a cluster calls things that newer ones call otherwise. */
export interface Names {
  readonly minor: number
  /** apiVersion of PodDisruptionBudgets and Evictions. */
  readonly policy: 'policy/v1' | 'policy/v1beta1'
  /** apiVersion of HorizontalPodAutoscalers that have the fields used here. */
  readonly autoscaling: 'autoscaling/v2' | 'autoscaling/v1'
}

export async function namesOf(kubeconfig: string): Promise<Names> {
  const client = await connect(kubeconfig)
  try {
    const { body } = await client.ask('GET', '/version')
    const minor = Number.parseInt((body as unknown as { minor: string }).minor, 10)
    if (Number.isNaN(minor)) throw new Error(`the cluster does not say its version: ${JSON.stringify(body)}`)
    return {
      minor,
      policy: minor < 22 ? 'policy/v1beta1' : 'policy/v1',
      autoscaling: minor < 23 ? 'autoscaling/v1' : 'autoscaling/v2',
    }
  } finally {
    client.close()
  }
}
