import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stepAct } from '../../../test/conformance/walk.ts'
import { IMAGES, type Kube, type Space } from '../../../test/support/kubernetes/component.ts'
import { brought } from '../../../test/support/kubernetes/kubectl.ts'
import type { Target } from '../../core/contract.ts'
import { helm } from './index.ts'
import type { HelmPin } from './pin.ts'

export const HELMS = ['3', '4'] as const
export type HelmVersion = (typeof HELMS)[number]

export const programOf = (version: HelmVersion): string => brought(`helm-${version}`, 'helm')

/** Why tests with this helm cannot run here, or null. Throws in CI: there a skipped test would hide a hole. */
export function noHelm(version: HelmVersion): string | null {
  const said = spawnSync(programOf(version), ['version', '--template', '{{.Version}}'], { encoding: 'utf8' })
  if (said.status === 0 && said.stdout.startsWith(`v${version}.`)) return null
  if (process.env['CI'] === 'true')
    throw new Error(`Helm ${version} is not here, and CI must not skip the tests with it`)
  return `(Helm ${version} is not here: npm run setup -- --servers)`
}

const DEPLOYMENT = `apiVersion: apps/v1
kind: Deployment
metadata: { name: {{ .Release.Name }} }
spec:
  replicas: 2
  selector: { matchLabels: { app: {{ .Release.Name }} } }
  template:
    metadata: { labels: { app: {{ .Release.Name }} } }
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: app
          image: {{ .Values.image | quote }}
          env: [{ name: TOKEN, value: {{ .Values.token | quote }} }]
          {{- if .Values.command }}
          envFrom: [{ configMapRef: { name: mode, optional: true } }]
          command: [sh, -c, {{ .Values.command | quote }}]
          {{- end }}
`
const HOOK = `{{- if .Values.hook }}
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .Release.Name }}-hook
  annotations: { "helm.sh/hook": post-rollback, "helm.sh/hook-delete-policy": before-hook-creation }
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 0
      containers: [{ name: hook, image: ${IMAGES.shell}, command: [sh, -c, {{ .Values.hook | quote }}] }]
{{- end }}
`

/** A namespace, and a release of a chart in it that is driven by the real helm. */
export interface Shop {
  readonly space: Space
  readonly chart: string
  /** Answers stdout; throws with what it wrote to stderr. */
  helm(...args: string[]): Promise<string>
  install(image: string, ...more: string[]): Promise<void>
  upgrade(image: string, ...more: string[]): Promise<void>
  /** Begins an upgrade to an image that nobody can pull, or a rollback to the revision that has it, and kills the client once Helm has noted that it began. */
  dieAt(verb: 'upgrade' | 'rollback'): Promise<void>
  /** Begins an upgrade to an image that nobody can pull, whose client lives until it gives up. */
  begin(timeout: string): Promise<{ pid: number; ended: Promise<unknown[]> }>
  history(): Promise<{ revision: number; status: string; description: string }[]>
  open(settings?: Record<string, unknown>): Promise<Target<HelmPin>>
}

export async function shopIn(kube: Kube, version: HelmVersion): Promise<Shop> {
  const space = await kube.namespace()
  const dir = await mkdtemp(join(tmpdir(), 'helm-'))
  const chart = join(dir, 'chart')
  await mkdir(join(chart, 'templates'), { recursive: true })
  await writeFile(join(chart, 'Chart.yaml'), 'apiVersion: v2\nname: shop\nversion: 1.0.0\nappVersion: "1"\n')
  await writeFile(join(chart, 'values.yaml'), 'image: none\ntoken: s3cret-of-release\nhook: ""\ncommand: ""\n')
  await writeFile(join(chart, 'templates', 'deployment.yaml'), DEPLOYMENT)
  await writeFile(join(chart, 'templates', 'hook.yaml'), HOOK)
  const where = ['--kubeconfig', kube.kubeconfig, '--namespace', space.name]
  const env = {
    ...process.env,
    HELM_CACHE_HOME: join(dir, 'cache'),
    HELM_CONFIG_HOME: join(dir, 'config'),
    HELM_DATA_HOME: join(dir, 'data'),
    // What kinds the server was found to have, which it believes for hours.
    KUBECACHEDIR: join(dir, 'kinds'),
  }
  const start = (args: readonly string[]) =>
    spawn(programOf(version), [...args, ...where], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  const run = async (...args: string[]): Promise<string> => {
    const child = start(args)
    const said = { out: '', err: '' }
    child.stdout.on('data', (data: Buffer) => (said.out += data.toString()))
    child.stderr.on('data', (data: Buffer) => (said.err += data.toString()))
    const [code] = (await once(child, 'close')) as [number | null]
    if (code !== 0) throw new Error(`helm ${args.join(' ')}: ${said.err}`)
    return said.out
  }
  const history: Shop['history'] = async () =>
    JSON.parse(await run('history', 'shop', '-o', 'json')) as Awaited<ReturnType<Shop['history']>>
  const pending = async (child: ReturnType<typeof start>, status: string): Promise<void> => {
    while (child.exitCode === null) if ((await history()).some(one => one.status === status)) return
    throw new Error(`helm ended before it was ${status}`)
  }
  const hopeless = ['upgrade', 'shop', chart, '--wait', '--set', `image=${IMAGES.missing}`]
  const { vault, backups } = stepAct()
  const ctx = { environment: 'test', component: 'shop', baseDir: dir, stateDir: join(dir, 'state'), vault, backups }
  return {
    space,
    chart,
    helm: run,
    history,
    install: async (image, ...more) =>
      void (await run('install', 'shop', chart, '--wait', '--set', `image=${image}`, ...more)),
    upgrade: async (image, ...more) =>
      void (await run('upgrade', 'shop', chart, '--wait', '--set', `image=${image}`, ...more)),
    async dieAt(verb) {
      const child = start(verb === 'upgrade' ? hopeless : ['rollback', 'shop', '2', '--wait'])
      await pending(child, `pending-${verb}`)
      child.kill('SIGKILL')
      await once(child, 'close')
    },
    async begin(timeout) {
      const child = start([...hopeless, '--timeout', timeout])
      const ended = once(child, 'close')
      await pending(child, 'pending-upgrade')
      return { pid: child.pid ?? 0, ended }
    },
    open: ({ limits, ...settings } = {}) => {
      const base = { release: 'shop', helm: [programOf(version)], kubeconfig: kube.kubeconfig, namespace: space.name }
      return helm.open(
        helm.config.parse({ ...base, ...settings, limits: { settle: '100ms', ...(limits as object | undefined) } }),
        ctx,
      )
    },
  }
}
