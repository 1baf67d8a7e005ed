import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  IMAGES,
  type Kube,
  onlyStandIn,
  pods,
  put,
  rolledOut,
  type Space,
  startKube,
  workload,
} from '../test/support/kubernetes/component.ts'
import { eachOf } from '../src/kubernetes/site.ts'
import { noKubectl } from '../test/support/kubernetes/kubectl.ts'
import { BACKOUT, built } from './support/built.ts'
import { command } from './support/command.ts'
import { inFolder, interleave, median, ratio, timed } from './support/measure.ts'
import { ms, notHere, percent, type Row, times } from './support/row.ts'

const ROUNDS = 3
const ROUNDS_OF_MANY = 1
const MANY = 100
/** As many `kubectl` at the same time as Backout works on objects. */
const AT_ONCE = 20
/** What a small service needs to get ready, and a larger one. */
const READY_S = 3
const SLOW_S = 10
const what = (seconds: number) => `Deployment of 4 pods, each ${seconds} s until it counts, taken back`
const GOAL = 'under 10 % and under 1 s beyond'

/** `backout run` of a plan, from its start to its proof, against `kubectl rollout undo` and `rollout status`. */
export async function bench(): Promise<Row[]> {
  const missing = noKubectl()
  if (missing !== null) return [notHere(what(READY_S), GOAL, missing)]
  built()
  const kube = await startKube()
  try {
    return [...(await inFolder(dir => one(kube, dir))), ...(await inFolder(dir => many(kube, dir)))]
  } finally {
    await kube[Symbol.asyncDispose]()
  }
}

const ON = onlyStandIn === null ? '' : ' (a real cluster)'

type Run = (...words: string[]) => Promise<string>

/** The command line, in a folder with a backout.yaml. */
async function home(kube: Kube, dir: string, space: Space, settings: object): Promise<Run> {
  const place = { kubeconfig: kube.kubeconfig, namespace: space.name, concurrency: AT_ONCE, ...settings }
  const config = { environment: 'bench', components: { shop: { adapter: 'kubernetes', settings: place } } }
  await writeFile(join(dir, 'backout.yaml'), JSON.stringify(config))
  const env = { BACKOUT_KEYS: join(dir, 'keys'), BACKOUT_USER: 'bench' }
  return (...words) => command([...BACKOUT, '-c', join(dir, 'backout.yaml'), ...words], env)
}

async function one(kube: Kube, dir: string): Promise<Row[]> {
  const space = await kube.namespace()
  const backout = await home(kube, dir, space, { objects: ['deployment/shop'] })
  const release = (name: string, seconds: number, image = IMAGES.shell) =>
    put(space, workload('Deployment', 'shop', { image, replicas: 4, container: readyAfter(seconds, name) }))
  const healthy = async (seconds: number) => {
    await release('bad', seconds)
    await rolledOut(space, 'deployment/shop')
  }
  const stuck = async (seconds: number) => {
    await release('bad', seconds, IMAGES.missing)
    // Three of four serve on, and two of the bad release never will.
    await until(async () => (await pods(space)).length === 5)
  }
  const rows: Row[] = []
  for (const [from, seconds, bad] of [
    ['a healthy release', READY_S, healthy],
    ['a stuck rollout', READY_S, stuck],
    ['a stuck rollout', SLOW_S, stuck],
  ] as const) {
    await release('good', seconds)
    await rolledOut(space, 'deployment/shop')
    const to = `v${rows.length}`
    await backout('capture', to, '--known-good')
    const { ours, steps, theirs } = await bothBack({ space, backout, dir, to, bad: () => bad(seconds) })
    const kubectl = 'kubectl rollout undo, rollout status'
    rows.push(beyond(`${what(seconds)} from ${from}: the whole command`, ours, theirs, kubectl))
    rows.push(beyond('the steps of it alone, each proven by its pods', steps, theirs, kubectl))
  }
  return rows
}

/**
 * A container that is ready after a while. By its probe and not by `minReadySeconds`: that is counted from a time that is
 * kept in whole seconds, so that who begins at another moment of a second ends up to a second earlier or later.
 */
function readyAfter(seconds: number, release: string) {
  return {
    command: ['sleep', '1000000'],
    env: [{ name: 'RELEASE', value: release }],
    readinessProbe: { exec: { command: ['true'] }, initialDelaySeconds: seconds, periodSeconds: 1 },
  }
}

interface Both {
  readonly space: Space
  readonly backout: Run
  readonly dir: string
  readonly to: string
  /** Puts the bad release there. */
  readonly bad: () => Promise<void>
}

/** How long the whole command and the steps in it take, and kubectl. */
async function bothBack({ space, backout, dir, to, bad }: Both) {
  const steps: number[] = []
  const taken = await interleave(ROUNDS, {
    ours: async () => {
      await bad()
      const took = await planned(backout, dir, to)
      steps.push(await stepsMs(backout))
      await check(space, ['shop'], IMAGES.shell)
      return took
    },
    theirs: async () => {
      await bad()
      const took = await timed(async () => {
        await space.kubectl('rollout', 'undo', 'deployment/shop')
        await rolledOut(space, 'deployment/shop')
      })
      await check(space, ['shop'], IMAGES.shell)
      return took
    },
  })
  return { ...taken, steps }
}

async function many(kube: Kube, dir: string): Promise<Row[]> {
  const space = await kube.namespace()
  const names = Array.from({ length: MANY }, (_, i) => `shop-${i}`)
  const objects = names.map(name => `deployment/${name}`)
  const backout = await home(kube, dir, space, { objects, limits: { settle: '0s' } })
  const release = async (image: string) => {
    await put(space, ...names.map(name => workload('Deployment', name, { image, replicas: 1 })))
    await eachOf(names, AT_ONCE, name => rolledOut(space, `deployment/${name}`))
  }
  await release(IMAGES.good)
  await backout('capture', 'v1', '--known-good')
  const script = (text: string) => command(['sh', '-c', text], { KUBECONFIG: kube.kubeconfig, N: space.name })
  const EACH = 'kubectl -n $N rollout undo deployment/$1 && kubectl -n $N rollout status deployment/$1'
  const back = async (work: () => Promise<unknown>) => {
    await release(IMAGES.bad)
    const took = await timed(work)
    await check(space, names)
    return took
  }
  const { ours, xargs, loop } = await interleave(ROUNDS_OF_MANY, {
    ours: async () => {
      await release(IMAGES.bad)
      const took = await planned(backout, dir, 'v1')
      await check(space, names)
      return took
    },
    xargs: () =>
      back(() => script(`printf '%s\\n' ${names.join(' ')} | xargs -P ${AT_ONCE} -I{} sh -c '${EACH}' sh {}`)),
    loop: () => back(() => script(`for d in ${names.join(' ')}; do set -- $d; ${EACH} || exit 1; done`)),
  })
  const WHAT = `${MANY} Deployments of a pod each taken back, ${AT_ONCE} at the same time: the whole command`
  return [
    faster(WHAT, ours, xargs, `xargs -P ${AT_ONCE} with kubectl rollout undo and status`),
    faster(WHAT, ours, loop, 'a loop of kubectl rollout undo and status'),
  ]
}

/** Makes a plan, and answers how long running it takes. */
async function planned(backout: Run, dir: string, to: string): Promise<number> {
  const plan = join(dir, 'plan.json')
  await backout('plan', '--to', to, '--out', plan)
  return timed(() => backout('run', plan, '--yes'))
}

/** Milliseconds from the first step's begin to the last step's end. */
async function stepsMs(backout: Run): Promise<number> {
  const { steps } = JSON.parse(await backout('report', '--json')) as { steps: { begun: string; ended: string }[] }
  return Math.max(...steps.map(s => Date.parse(s.ended))) - Math.min(...steps.map(s => Date.parse(s.begun)))
}

/** Throws where pods do not run the good release. */
async function check(space: Space, names: readonly string[], image = IMAGES.good): Promise<void> {
  const text = await space.kubectl('get', 'deployments', '-o', 'json')
  const { items } = JSON.parse(text) as { items: { metadata: { name: string }; spec: { template: Template } }[] }
  const wrong = names.filter(name => {
    const template = items.find(item => item.metadata.name === name)?.spec.template
    const [container] = template?.spec.containers ?? []
    return container?.image !== image || container.env?.some(({ value }) => value !== 'good') === true
  })
  if (wrong.length > 0) throw new Error(`${wrong.join(', ')} did not go back`)
}

interface Template {
  spec: { containers: { image: string; env?: { value: string }[] }[] }
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise(resolve => setTimeout(resolve, 50))
}

function beyond(what: string, ours: number[], theirs: number[], against: string): Row {
  const share = ratio(ours, theirs) - 1
  const extra = median(ours.map((took, i) => took - (theirs[i] ?? Number.NaN)))
  return {
    what: `${what}${ON}`,
    backout: ms(median(ours)),
    compared: `${against}: ${ms(median(theirs))}`,
    ratio: `${share < 0 ? '' : '+'}${percent(share)}`,
    goal: { text: GOAL, met: share < 0.1 && extra < 1000 },
  }
}

function faster(what: string, ours: number[], theirs: number[], against: string): Row {
  return {
    what: `${what}${ON}`,
    backout: ms(median(ours)),
    compared: `${against}: ${ms(median(theirs))}`,
    ratio: `${times(1 / ratio(ours, theirs))} faster`,
    goal: null,
  }
}
