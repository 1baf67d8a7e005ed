import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { stepAct } from '../../../test/conformance/walk.ts'
import {
  applied,
  autoscaler,
  captured,
  codes,
  configMap,
  IMAGES,
  type Kube,
  notOwn,
  onlyStandIn,
  proposed,
  put,
  rolledOut,
  running,
  type Space,
  secret,
  service,
  signal,
  startKube,
  workload,
} from '../../../test/support/kubernetes/component.ts'
import { definition } from '../../../test/support/kubernetes/definitions.ts'
import { noKubectl } from '../../../test/support/kubernetes/kubectl.ts'
import { type User, userOf } from '../../../test/support/kubernetes/real/user.ts'
import type { Rule } from '../../../test/support/kubernetes/trouble.ts'

const PAGE = join(import.meta.dirname, '../../../docs/adapters/kubernetes.md')
const limits = { settle: '100ms' }

/** The Role that the page shows. */
async function shown(): Promise<Rule[]> {
  const text = /```\n(rules:\n[^`]*)```/.exec(await readFile(PAGE, 'utf8'))?.[1] ?? ''
  return (parse(text) as { rules: Rule[] }).rules
}

/** The same with a right less. */
function without(rules: readonly Rule[], verb: string, resource: string): Rule[] {
  return rules.flatMap(rule => {
    if (!rule.resources.includes(resource)) return [rule]
    const others = rule.resources.filter(name => name !== resource)
    const fewer = { ...rule, resources: [resource], verbs: rule.verbs.filter(one => one !== verb) }
    return [{ ...rule, resources: others }, fewer].filter(one => one.resources.length > 0 && one.verbs.length > 0)
  })
}

describe.skipIf(noKubectl() !== null)(`C5: the rights of a user ${noKubectl() ?? ''}`, () => {
  let kube: Kube
  let space: Space
  beforeAll(async () => {
    kube = await startKube()
  })
  afterAll(() => kube[Symbol.asyncDispose]())
  beforeEach(async () => {
    space = await kube.namespace()
  })
  const user = (rules: readonly Rule[]): Promise<User> => userOf(kube, space.name, rules)

  it('the Role that the page shows is enough for all of it', async () => {
    const { kubeconfig, dispose } = await user(await shown())
    try {
      const container = { envFrom: [{ configMapRef: { name: 'shop' } }, { secretRef: { name: 'shop' } }] }
      const scaler = (max: number) => autoscaler(kube, 'Deployment', 'shop', { min: 2, max })
      const inTurn = { spec: { updateStrategy: { type: 'OnDelete' } } }
      const release = (image: string, version: string, max: number) => [
        configMap('shop', { version }),
        secret('shop', { version }),
        service('shop', { app: 'shop', ...(version === '1' ? {} : { version }) }),
        workload('Deployment', 'shop', { image, container }),
        workload('StatefulSet', 'queue', { image, replicas: 1, ...inTurn }),
        scaler(max),
      ]
      await put(space, ...release(IMAGES.good, '1', 3))
      await rolledOut(space, 'deployment/shop')
      const objects = ['deployment/shop', 'statefulset/queue']
      await using target = await space.open({ objects, pinned: ['secret/shop'], limits }, { kubeconfig })
      await expect.poll(() => captured(target), { timeout: 120_000 }).toBeTruthy()
      const pin = await captured(target)
      expect((await target.ready?.(signal))?.findings).toEqual([])
      await put(space, ...release(IMAGES.bad, '2', 9))
      await rolledOut(space, 'deployment/shop')
      await space.kubectl('delete', 'pods', '-l', 'app=queue')
      await expect.poll(() => running(space, '=queue'), { timeout: 120_000 }).toEqual([IMAGES.bad])
      await space.kubectl('delete', 'configmap', 'shop')
      const proposal = await proposed(target, pin)
      expect(codes(proposal).filter(code => code === code.toUpperCase())).toEqual([])
      const verdicts = await applied(target, proposal)
      expect(verdicts).toHaveLength(6)
      expect(verdicts.filter(verdict => !verdict.endsWith(': done'))).toEqual([])
      expect(await running(space)).toEqual([IMAGES.good, IMAGES.good])
      expect(await running(space, '=queue')).toEqual([IMAGES.good])
      // A whole object that is gone.
      await space.kubectl('delete', 'statefulset', 'queue')
      await applied(target, await proposed(target, pin, 'manifest'), 'r2')
      expect(await running(space, '=queue')).toEqual([IMAGES.good])
    } finally {
      await dispose()
    }
  })

  it('and for a command in the image that is left', async () => {
    const { kubeconfig, dispose } = await user(await shown())
    try {
      const container = { command: ['sleep', '100000'] }
      await put(space, workload('Deployment', 'shop', { image: IMAGES.shell, replicas: 1, container }))
      await rolledOut(space, 'deployment/shop')
      await using target = await space.open({ objects: ['deployment/shop'], limits }, { kubeconfig })
      const act = { ...stepAct(), idem: 'r1.db.down', env: { SECRET: 'of the step' } }
      const ran = await target.exec?.('from', ['sh', '-c', 'echo "$SECRET"'], act)
      expect(ran).toMatchObject({ code: 0, stdout: 'of the step\n' })
    } finally {
      await dispose()
    }
  })

  it.each([
    ['Deployment', 'patch', 'deployments', 'patch deployments.apps'],
    ['StatefulSet', 'create', 'pods/eviction', 'create pods/eviction'],
  ])('of a %s, a %s on %s that is missing is named before anything is begun', async (kind, verb, resource, named) => {
    const { kubeconfig, dispose } = await user(without(await shown(), verb, resource))
    try {
      const object = `${kind.toLowerCase()}/shop`
      const spec = kind === 'StatefulSet' ? { updateStrategy: { type: 'OnDelete' } } : {}
      await put(space, workload(kind, 'shop', { image: IMAGES.good, spec }))
      await using target = await space.open({ objects: [object], limits }, { kubeconfig })
      await expect.poll(() => captured(target), { timeout: 120_000 }).toBeTruthy()
      const pin = await captured(target)
      await put(space, workload(kind, 'shop', { image: IMAGES.bad, spec }))
      const rights = async () =>
        (await proposed(target, pin)).findings.filter(f => f.code === 'right_missing' && f.level === 'blocker')
      await expect.poll(rights, { timeout: 60_000 }).toMatchObject([{ what: expect.stringContaining(named) as string }])
    } finally {
      await dispose()
    }
  })

  it.skipIf(notOwn !== null)('an owner in Git that may not be looked at is not taken for none', async () => {
    const { kubeconfig, dispose } = await user(await shown())
    try {
      // Charts of Helm have that label too.
      const metadata = { labels: { app: 'shop', 'app.kubernetes.io/instance': 'shop' } }
      await put(space, workload('Deployment', 'shop', { image: IMAGES.good, metadata }))
      await rolledOut(space, 'deployment/shop')
      await using target = await space.open({ objects: ['deployment/shop'], limits }, { kubeconfig })
      const pin = await captured(target)
      await space.kubectl('set', 'image', 'deployment/shop', `app=${IMAGES.bad}`)
      await rolledOut(space, 'deployment/shop')
      // Where the server has no Applications, there is none. A real one may have them from the tests beside this one.
      if (onlyStandIn === null) expect(codes(await proposed(target, pin))).toEqual([])
      await put(space, definition('applications'))
      const found = async () => (await proposed(target, pin)).findings
      await expect
        .poll(found, { timeout: 30_000 })
        .toMatchObject([
          { code: 'gitops_owner', level: 'warning', what: expect.stringContaining('cannot be looked at') },
        ])
    } finally {
      await dispose()
    }
  })

  it('says who is not let in any more once the token has run out, and what to do', async () => {
    const { kubeconfig, expire, dispose } = await user(await shown())
    try {
      await put(space, workload('Deployment', 'shop', { image: IMAGES.good }))
      await using target = await space.open({ objects: ['deployment/shop'], limits }, { kubeconfig })
      await target.observe(signal)
      await expire()
      // A server may keep for a moment what it has found out about a token.
      const observed = () =>
        target.observe(signal).then(
          () => null,
          (error: unknown) => error,
        )
      await expect.poll(observed, { timeout: 60_000 }).toMatchObject({
        code: 'kubernetes_unauthorized',
        next: expect.stringContaining('log in again') as string,
      })
    } finally {
      await dispose()
    }
  })
})
