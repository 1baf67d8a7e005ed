import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parse } from 'yaml'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { noHelm, programOf, type Shop, shopIn } from '../../src/adapters/helm/helm.fixture.ts'
import { IMAGES, type Kube, running, startKube } from '../support/kubernetes/component.ts'
import type { Plan } from '../../src/core/plan.ts'
import type { Report } from '../../src/report/model.ts'
import { type CommandLine, commandLine } from '../support/command-line.ts'
import { noKubectl } from '../support/kubernetes/kubectl.ts'
import { MAIN } from '../support/shipped.ts'

const WITHOUT = noHelm('4') ?? noKubectl()

describe.skipIf(WITHOUT !== null)(`C5: a bad release of Helm, through the command line ${WITHOUT ?? ''}`, () => {
  let kube: Kube
  let shop: Shop
  let folder: string
  let line: CommandLine
  beforeAll(async () => void (kube = await startKube()))
  afterAll(() => kube[Symbol.asyncDispose]())
  beforeEach(async () => {
    shop = await shopIn(kube, '4')
    folder = await mkdtemp(join(tmpdir(), 'backout-helm-'))
    line = commandLine(folder)
    const where = { kubeconfig: kube.kubeconfig, namespace: shop.space.name }
    const settings = { ...where, release: 'shop', helm: [programOf('4')] }
    const config = { environment: 'production', components: { shop: { adapter: 'helm', settings } } }
    await writeFile(join(folder, 'backout.yaml'), JSON.stringify(config))
  })
  afterEach(() => rm(folder, { recursive: true, force: true }))

  const released = async (...more: string[]): Promise<void> => {
    await shop.install(IMAGES.good, ...more)
    expect(await line.backout(['capture', 'v1', '--known-good'])).toMatchObject({ code: 0 })
    await shop.upgrade(IMAGES.bad, ...more)
  }

  it('captures, plans, runs, reports, reverts, and has nothing left to do', async () => {
    await released()
    const doctor = await line.backout(['doctor'])
    expect(doctor.stdout).toMatch(/helm v4\./)
    expect(doctor.stdout).toContain('2 revisions that were deployed')
    const plan = await line.json<Plan>(['plan'])
    expect(plan.components).toMatchObject([{ id: 'shop', adapter: 'helm', rung: 'rollback', rejected: [] }])
    expect(await line.backout(['run', '--yes', '--reason', 'it is bad'])).toMatchObject({ code: 0 })
    expect(await running(shop.space)).toEqual([IMAGES.good, IMAGES.good])
    const report = await line.json<Report>(['report'])
    expect(report).toMatchObject({ state: 'succeeded', to: 'v1' })
    expect((await line.backout(['run', '--yes'])).stdout).toContain('Nothing to do')
    expect(await line.backout(['revert', '--yes'])).toMatchObject({ code: 0 })
    expect(await running(shop.space)).toEqual([IMAGES.bad, IMAGES.bad])
  })

  it('`init` finds the release of a chart, once helm says that it is there', async () => {
    await cp(shop.chart, join(folder, 'deploy'), { recursive: true })
    const config = join(folder, 'kubeconfig')
    await writeFile(config, await readFile(kube.kubeconfig))
    await shop.space.kubectl(
      '--kubeconfig',
      config,
      'config',
      'set-context',
      '--current',
      `--namespace=${shop.space.name}`,
    )
    await mkdir(join(folder, 'bin'))
    await symlink(programOf('4'), join(folder, 'bin', 'helm'))
    const env = { KUBECONFIG: config, PATH: `${join(folder, 'bin')}:${process.env['PATH']}` }
    const before = await line.backout(['init', '--force'], env)
    expect(before.stdout).toContain('helm knows no release of that name there')
    await shop.install(IMAGES.good)
    expect((await line.backout(['init', '--force'], env)).stdout).toContain('-> component shop')
    const written = parse(await readFile(join(folder, 'backout.yaml'), 'utf8')) as object
    expect(written).toMatchObject({ components: { shop: { adapter: 'helm', settings: { release: 'shop' } } } })
  })

  it('C16: goes on after a kill -9 in the middle of helm rollback, which dies with it', async () => {
    await released('--set', 'hook=sleep 3')
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', MAIN, 'run', '--yes'], {
      cwd: folder,
      stdio: 'ignore',
      env: { ...process.env, BACKOUT_KEYS: join(folder, 'keys') },
    })
    const last = async () => (await shop.history()).at(-1)
    await expect.poll(async () => (await last())?.status, { timeout: 60_000 }).toBe('pending-rollback')
    child.kill('SIGKILL')
    await once(child, 'close')
    expect(await last()).toMatchObject({ revision: 3, status: 'pending-rollback' })
    expect(await line.backout(['resume'])).toMatchObject({ code: 0 })
    expect(await last()).toMatchObject({ revision: 4, status: 'deployed', description: 'Rollback to 1' })
    expect(await running(shop.space)).toEqual([IMAGES.good, IMAGES.good])
  })
})
