import { rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { stepAct } from '../../../test/conformance/walk.ts'
import { codes, IMAGES, type Kube, signal, startKube } from '../../../test/support/kubernetes/component.ts'
import { noKubectl } from '../../../test/support/kubernetes/kubectl.ts'
import type { Proposal, Target } from '../../core/contract.ts'
import { HELMS, noHelm, shopIn } from './helm.fixture.ts'
import { kindsOf } from './manifest.ts'
import type { HelmPin } from './pin.ts'

const captured = async (target: Target<HelmPin>): Promise<HelmPin> =>
  target.capture(await target.observe(signal), { ...stepAct(), purpose: 'release', release: 'v1' })

const proposed = async (target: Target<HelmPin>, to: HelmPin): Promise<Proposal> => {
  const none = { needs: [], dependents: [], dependencies: [], upgradedAt: null, mode: 'full' as const, signal }
  return target.propose({ from: await target.observe(signal), to, release: 'v1', rung: 'rollback', ...none })
}

const BUDGET = `{{- if .Values.budget }}
apiVersion: {{ .Values.budget }}
kind: PodDisruptionBudget
metadata: { name: {{ .Release.Name }} }
spec: { maxUnavailable: 1, selector: { matchLabels: { app: {{ .Release.Name }} } } }
{{- end }}
`

/** The server is brought up to date between a release and its rollback. The stand-in's is, whatever other cluster there is. */
describe.each(HELMS)('C5: kinds that a newer server (the stand-in) does not have any more, with Helm %s', version => {
  const without = noHelm(version) ?? noKubectl()
  let kube: Kube
  beforeAll(async () => {
    kube = await startKube({ minor: 20 }, { another: true })
  })
  afterAll(() => kube[Symbol.asyncDispose]())

  const serve = (of: string) => {
    const { resources } = kube.standIn?.api ?? expect.fail()
    resources.add({ ...resources.key('policy/poddisruptionbudgets'), version: of })
  }

  it.skipIf(without !== null)(
    `are named before anything is begun, in the release that is gone back to ${without ?? ''}`,
    async () => {
      const shop = await shopIn(kube, version)
      await writeFile(join(shop.chart, 'templates', 'budget.yaml'), BUDGET)
      serve('v1beta1')
      await shop.install(IMAGES.good, '--set', 'budget=policy/v1beta1')
      await using target = await shop.open()
      const pin = await captured(target)
      await shop.upgrade(IMAGES.bad)
      serve('v1')
      const proposal = await proposed(target, pin)
      await rm(join(dirname(shop.chart), 'kinds'), { recursive: true })
      await expect(shop.helm('rollback', 'shop', '1')).rejects.toThrow(/no matches for kind "PodDisruptionBudget"/)
      expect(codes(proposal)).toEqual(['KIND_GONE'])
      expect(proposal.steps).toEqual([])
      expect(proposal.findings[0]?.what).toContain('PodDisruptionBudget (policy/v1beta1) of revision 1')
    },
  )

  it.skipIf(without !== null)(`and in the one that is left, which Helm reads too ${without ?? ''}`, async () => {
    const shop = await shopIn(kube, version)
    await writeFile(join(shop.chart, 'templates', 'budget.yaml'), BUDGET)
    serve('v1beta1')
    await shop.install(IMAGES.good)
    await using target = await shop.open()
    const pin = await captured(target)
    await shop.upgrade(IMAGES.bad, '--set', 'budget=policy/v1beta1')
    serve('v1')
    const proposal = await proposed(target, pin)
    await rm(join(dirname(shop.chart), 'kinds'), { recursive: true })
    await expect(shop.helm('rollback', 'shop', '1')).rejects.toThrow(/no matches for kind "PodDisruptionBudget"/)
    expect(codes(proposal)).toEqual(['KIND_GONE'])
    expect(proposal.findings[0]).toMatchObject({
      what: expect.stringContaining('of revision 2') as string,
      remedy: expect.stringContaining('mapkubeapis') as string,
    })
  })
})

it('looks for kinds in lists too, which no server has as a kind of its own', () => {
  const list =
    'apiVersion: v1\nkind: List\nitems: [{ apiVersion: batch/v1beta1, kind: CronJob, metadata: { name: a } }]\n'
  expect(
    kindsOf(`${list}---\napiVersion: v1\nkind: Service\n---\n# nothing\n---\napiVersion: v1\nkind: Service\n`),
  ).toEqual([
    ['batch/v1beta1', 'CronJob'],
    ['v1', 'Service'],
  ])
})
