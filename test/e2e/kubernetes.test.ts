import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { parse, stringify } from 'yaml'
import type { Plan } from '../../src/core/plan.ts'
import type { Report } from '../../src/report/model.ts'
import { type CommandLine, commandLine } from '../support/command-line.ts'
import {
  configMap,
  IMAGES,
  type Kube,
  noPush,
  noStop,
  put,
  rolledOut,
  running,
  type Space,
  startKube,
  workload,
} from '../support/kubernetes/component.ts'
import { noKubectl } from '../support/kubernetes/kubectl.ts'
import type { Wire } from '../support/kubernetes/real/wire.ts'
import { MAIN } from '../support/shipped.ts'

const BACK = [IMAGES.good, IMAGES.good]

describe.skipIf(noKubectl() !== null)(
  `C5: a bad release on Kubernetes, through the command line ${noKubectl() ?? ''}`,
  () => {
    let kube: Kube
    let wire: Wire
    let space: Space
    let folder: string
    let line: CommandLine
    beforeAll(async () => {
      kube = await startKube()
      wire = await kube.wire()
    })
    afterAll(async () => {
      await wire.close()
      await kube[Symbol.asyncDispose]()
    })
    beforeEach(async () => {
      space = await kube.namespace()
      folder = await mkdtemp(join(tmpdir(), 'backout-kubernetes-'))
      line = commandLine(folder)
      await configure()
    })
    afterEach(() => rm(folder, { recursive: true, force: true }))

    async function configure(
      policy: object = {},
      kubeconfig = kube.kubeconfig,
      limits: object = {},
      more: object = {},
    ): Promise<void> {
      const settings = {
        kubeconfig,
        namespace: space.name,
        objects: ['deployment/shop'],
        limits: { settle: '100ms', ...limits },
        ...more,
      }
      const config = { environment: 'production', components: { shop: { adapter: 'kubernetes', settings } }, policy }
      await writeFile(join(folder, 'backout.yaml'), JSON.stringify(config))
    }
    async function released(image = IMAGES.good, more: object = {}): Promise<void> {
      await put(space, workload('Deployment', 'shop', { image, ...more }))
      await rolledOut(space, 'deployment/shop')
      expect(await line.backout(['capture', 'v1', '--known-good'])).toMatchObject({ code: 0 })
      await space.kubectl('set', 'image', 'deployment/shop', `app=${IMAGES.bad}`)
      await rolledOut(space, 'deployment/shop')
    }
    const asked = async () =>
      space.kubectl('get', 'deployment', 'shop', '-o', 'jsonpath={.spec.template.spec.containers[0].image}')
    const revisions = async () =>
      (await space.kubectl('rollout', 'history', 'deployment/shop')).match(/^\d+/gm)?.map(Number) ?? []

    it('captures, plans, runs, reports, and has nothing left to do', async () => {
      await released()
      const doctor = await line.backout(['doctor'])
      expect(doctor.stdout).toContain('rights that going back needs')
      expect(doctor.stdout).toMatch(/2 of 2 pods available/)
      const plan = await line.json<Plan>(['plan'])
      expect(plan.components).toMatchObject([{ id: 'shop', adapter: 'kubernetes', rung: 'adopt', rejected: [] }])
      const run = await line.backout(['run', '--yes', '--reason', 'it is bad'])
      expect(run).toMatchObject({
        code: 0,
        stdout: expect.stringContaining('production is back on v1, verified.') as string,
      })
      expect(await running(space)).toEqual(BACK)
      const report = await line.json<Report>(['report'])
      expect(report).toMatchObject({ state: 'succeeded', to: 'v1', startedBy: { reason: 'it is bad' } })
      expect(report.steps.map(s => s.id)).toEqual(['shop/roll/deployment.shop'])
      expect((await line.backout(['run', '--yes'])).stdout).toContain('Nothing to do')
      const reverted = await line.backout(['revert', '--yes'])
      expect(reverted.code).toBe(0)
      expect(await running(space)).toEqual([IMAGES.bad, IMAGES.bad])
    })

    it('has succeeded where somebody added pods to the release meanwhile, and tells of them', async () => {
      await released()
      const path = join(folder, 'backout.yaml')
      const config = JSON.parse(await readFile(path, 'utf8')) as object
      const scale = space.kubectl.line('scale', 'deployment/shop', '--replicas=3')
      const run = `${scale} && ${space.kubectl.line('rollout', 'status', 'deployment/shop')}`
      await writeFile(path, JSON.stringify({ ...config, hooks: { cleanup: { after: { run } } } }))
      expect(await line.backout(['run', '--yes', '--reason', 'it is bad'])).toMatchObject({ code: 0 })
      expect(await running(space)).toEqual([...BACK, IMAGES.good])
      expect((await line.backout(['report'])).stdout).toContain('shop is on v1')
      expect((await line.backout(['plan'])).stdout).toContain('replicas')
    })

    it('has succeeded where its pods were drained at its end and are slow to come: they are waited for', async () => {
      const initContainers = [{ name: 'first', image: IMAGES.shell, command: ['sh', '-c', 'sleep 8'] }]
      await released(IMAGES.good, { pod: { initContainers } })
      const path = join(folder, 'backout.yaml')
      const config = JSON.parse(await readFile(path, 'utf8')) as object
      const run = space.kubectl.line('delete', 'pods', '-l', 'app=shop', '--wait=false')
      await writeFile(path, JSON.stringify({ ...config, hooks: { cleanup: { after: { run } } } }))
      const { code, stdout } = await line.backout(['run', '--yes', '--reason', 'it is bad'])
      expect(code).toBe(0)
      expect(stdout).toContain('shop is on v1, and not all of it is up yet: 0 of 2 pods of deployment/shop stay up')
      expect(await running(space)).toEqual(BACK)
    })

    it('is no success where pods of the release die after each start at its end, though all of them are of it', async () => {
      const mode = (MODE: string) => configMap('mode', { MODE })
      await space.kubectl.apply(mode('good'))
      await writeFile(join(folder, 'bad.json'), JSON.stringify(mode('bad')))
      const command = ['sh', '-c', '[ "$MODE" = good ] || exit 3; exec sleep 100000']
      const container = { command, envFrom: [{ configMapRef: { name: 'mode' } }] }
      const v = (value: string) => ({ ...container, env: [{ name: 'RELEASE', value }] })
      await put(space, workload('Deployment', 'shop', { image: IMAGES.shell, container: v('v1') }))
      await rolledOut(space, 'deployment/shop')
      await configure({}, kube.kubeconfig, {}, { current: ['configmap/mode'] })
      expect(await line.backout(['capture', 'v1', '--known-good'])).toMatchObject({ code: 0 })
      await put(space, workload('Deployment', 'shop', { image: IMAGES.shell, container: v('v2') }))
      await rolledOut(space, 'deployment/shop')
      const path = join(folder, 'backout.yaml')
      const config = JSON.parse(await readFile(path, 'utf8')) as object
      const bad = space.kubectl.line('apply', '-f', join(folder, 'bad.json'))
      const run = `${bad} && ${space.kubectl.line('delete', 'pods', '-l', 'app=shop', '--wait=false')}`
      await writeFile(path, JSON.stringify({ ...config, hooks: { cleanup: { after: { run } } } }))
      const { code, stdout } = await line.backout(['run', '--yes'])
      expect(code).toBe(9)
      expect(stdout).toContain('shop is on v1 and does not run as it should: 0 of 2 pods of deployment/shop stay up')
      expect(stdout).not.toContain('verified.')
      // The plan has nothing to do there, and says what is the matter.
      await writeFile(path, JSON.stringify(config))
      expect((await line.backout(['plan', '--to', 'v1'])).stdout).toContain('does not run as it should')
    })

    it('`init` finds what the manifests name, and `doctor` says when it is not there', async () => {
      const manifest = workload('Deployment', 'shop', { image: IMAGES.good }) as { metadata: object }
      manifest.metadata = { ...manifest.metadata, namespace: space.name }
      await put(space, manifest)
      await mkdir(join(folder, 'k8s'))
      await writeFile(
        join(folder, 'k8s', 'shop.yaml'),
        `# the shop\n${stringify(manifest)}---\n{ not: yaml: {{ at }} all }\n`,
      )
      await writeFile(join(folder, 'k8s', 'only.yaml'), stringify(manifest))
      const env = { KUBECONFIG: kube.kubeconfig }
      expect(await line.backout(['init', '--force'], env)).toMatchObject({
        code: 0,
        stdout: expect.stringContaining('-> component workloads') as string,
      })
      const written = parse(await readFile(join(folder, 'backout.yaml'), 'utf8')) as object
      expect(written).toMatchObject({
        components: {
          workloads: { adapter: 'kubernetes', settings: { namespace: space.name, objects: ['deployment/shop'] } },
        },
      })
      await space.kubectl('delete', 'deployment', 'shop')
      const doctor = await line.backout(['doctor'], env)
      expect(doctor.stdout).toContain('workloads: deployment/shop is not there')
    })

    it('says in `status` what it holds back in GitOps, until somebody lifts it', async () => {
      const [group, plural] = ['kustomize.toolkit.fluxcd.io', 'kustomizations']
      const names = { plural, singular: 'kustomization', kind: 'Kustomization', listKind: 'KustomizationList' }
      const schema = { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } }
      await put(space, {
        apiVersion: 'apiextensions.k8s.io/v1',
        kind: 'CustomResourceDefinition',
        metadata: { name: `${plural}.${group}` },
        spec: { group, scope: 'Namespaced', names, versions: [{ name: 'v1', served: true, storage: true, schema }] },
      })
      const owner = { apiVersion: `${group}/v1`, kind: 'Kustomization', metadata: { name: 'shop' }, spec: {} }
      await expect.poll(() => put(space, owner).then(() => 'there', String), { timeout: 30_000 }).toBe('there')
      await released(IMAGES.good, { metadata: { labels: { app: 'shop', [`${group}/name`]: 'shop' } } })
      expect(await line.backout(['run', '--yes', '--reason', 'it is bad'])).toMatchObject({ code: 0 })
      const told = (await line.backout(['status'])).stdout
      expect(told).toContain("still in force: Flux's Kustomization")
      // The bad release comes once more, and another run goes back: what the first one holds is said still.
      await space.kubectl('set', 'image', 'deployment/shop', `app=${IMAGES.bad}`)
      await rolledOut(space, 'deployment/shop')
      expect(await line.backout(['run', '--yes', '--reason', 'once more'])).toMatchObject({ code: 0 })
      const again = (await line.backout(['status'])).stdout
      expect(again.replaceAll(/\s+/g, ' ')).toMatch(
        /still in force: Flux's Kustomization .*, since r\S+; lifted by: kubectl/,
      )
      const [, lift = ''] = again.match(/^  kubectl (.*)$/m) ?? []
      await space.kubectl(...(lift.match(/'[^']*'|\S+/g) ?? []).map(word => word.replaceAll("'", '')))
      expect(await line.json(['status'])).toMatchObject({ lasting: [{ is: 'lifted' }] })
      expect(await line.json(['status'])).not.toHaveProperty('lasting')
      expect((await line.backout(['status'])).stdout).not.toContain('in force')
    })

    it('C16: goes on after a kill -9 in the middle of a rollout, and writes nothing twice', async () => {
      await released(IMAGES.good, { spec: { minReadySeconds: 2 } })
      const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', MAIN, 'run', '--yes'], {
        cwd: folder,
        stdio: 'ignore',
        env: { ...process.env, BACKOUT_KEYS: join(folder, 'keys') },
      })
      await expect.poll(asked, { timeout: 60_000 }).toBe(IMAGES.good)
      child.kill('SIGKILL')
      await once(child, 'close')
      await expect.poll(revisions, { timeout: 30_000 }).toEqual([2, 3])
      const resumed = await line.backout(['resume'])
      expect(resumed).toMatchObject({ code: 0 })
      expect(await running(space)).toEqual(BACK)
      expect(await revisions()).toEqual([2, 3])
    })

    describe('with bad luck', () => {
      it.each(['before its write', 'after its write'])('C16: goes on after a kill -9 right %s', async when => {
        await released()
        await configure({}, wire.kubeconfig)
        const { trouble } = wire
        const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', MAIN, 'run', '--yes'], {
          cwd: folder,
          stdio: 'ignore',
          env: { ...process.env, BACKOUT_KEYS: join(folder, 'keys') },
        })
        // Asked for each request: the connection is cut as well, so that nothing more can come of the process.
        const write = (a: { verb: string; resource: string }) => a.verb === 'patch' && a.resource === 'deployments'
        const kill = (a: { verb: string; resource: string }) => write(a) && child.kill('SIGKILL')
        if (when === 'before its write') trouble.fail(kill)
        else trouble.loseReply(kill)
        await once(child, 'close')
        const image = await asked()
        expect(image).toBe(when === 'before its write' ? IMAGES.bad : IMAGES.good)
        expect(await line.backout(['resume'])).toMatchObject({ code: 0 })
        expect(await running(space)).toEqual(BACK)
        expect(await revisions()).toEqual([2, 3])
      })

      describe.skipIf(noStop !== null)(`of the API server itself, which is stopped ${noStop ?? ''}`, () => {
        const SLOW = { spec: { minReadySeconds: 5 } }

        it('in the middle of a run, and started again: the run goes on', async () => {
          await released(IMAGES.good, SLOW)
          const going = line.backout(['run', '--yes'])
          await expect.poll(asked, { timeout: 60_000 }).toBe(IMAGES.good)
          await kube.goAway()
          await new Promise(resolve => setTimeout(resolve, 2_000))
          await kube.comeBack()
          expect(await going).toMatchObject({ code: 0 })
          expect(await running(space)).toEqual(BACK)
          expect(await revisions()).toEqual([2, 3])
        })

        it('for too long: the run asks what became of it, and nothing is written twice', async () => {
          await configure({}, kube.kubeconfig, { away: '500ms', api: '2s' })
          await released(IMAGES.good, SLOW)
          const going = line.backout(['run', '--yes'])
          await expect.poll(asked, { timeout: 60_000 }).toBe(IMAGES.good)
          await kube.goAway()
          try {
            const ended = await going
            expect(ended.code).toBe(5)
            expect(ended.stdout).toMatch(/The API server \S+ does not answer/)
            expect(ended.stdout).toContain('nothing can tell whether it took effect')
          } finally {
            await kube.comeBack()
          }
          const word = ['resolve', 'shop/roll/deployment.shop', '--not-done']
          expect(await line.backout(word)).toMatchObject({ code: 0 })
          expect(await line.backout(['resume'])).toMatchObject({ code: 0 })
          expect(await running(space)).toEqual(BACK)
          expect(await revisions()).toEqual([2, 3])
        })
      })

      it.skipIf(noPush !== null)(
        `C12: falls to the next rung in the middle of the run where a tag was moved ${noPush ?? ''}`,
        async () => {
          const tag = `example.test/${space.name}:stable`
          const then = await kube.push(tag)
          await configure({ onFailure: 'take' })
          await released(tag, { container: { imagePullPolicy: 'Always' } })
          await kube.push(tag, { log: ['another one'] })
          const run = await line.backout(['run', '--yes'])
          expect(run).toMatchObject({ code: 0 })
          expect(await asked()).toBe(`${tag}@${then}`)
          expect(run.stdout).toContain('does not run what it ran')
        },
      )
    })
  },
)
