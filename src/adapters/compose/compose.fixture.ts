import { randomBytes } from 'node:crypto'
import { ordered, stepAct } from '../../../test/conformance/walk.ts'
import { type Project, project } from '../../../test/support/compose.ts'
import type { Dockerd } from '../../../test/support/dockerd.ts'
import type { OpenContext, Proposal, Question, Step, StepAct, Target, Vault } from '../../core/contract.ts'
import { compose } from './index.ts'
import type { ComposePin } from './pin.ts'

const signal = new AbortController().signal

/** Opens a project as another process would; all share one vault. */
export async function open(settings: object, vault: Vault = stepAct().vault): Promise<Target<ComposePin>> {
  const { backups } = stepAct()
  const ctx: OpenContext = { environment: 'test', component: 'web', baseDir: '/', stateDir: '/', vault, backups }
  return compose.open(compose.config.parse({ limits: { settle: '500ms' }, ...settings }), ctx)
}

export async function captured(target: Target<ComposePin>, vault = stepAct().vault): Promise<ComposePin> {
  return target.capture(await target.observe(signal), { ...stepAct(), vault, purpose: 'release', release: 'v1' })
}

/** A service of an image, quick to stop. */
export const part = (image: string) => `image: ${image}\n    network_mode: none\n    stop_signal: KILL\n`
export const WEB = `services:\n  web:\n    ${part('shop:${TAG}')}    env_file: .env\n`

/** A project that is up, captured; `made` is who takes it down. */
export async function shopOn(engine: Dockerd, made: Project[], files: Readonly<Record<string, string>>) {
  const p = await project(engine, files)
  made.push(p)
  await p.up()
  const target = await open(p.settings)
  return { p, target, pin: await captured(target) }
}

export async function proposed(
  target: Target<ComposePin>,
  to: ComposePin,
  more: Partial<Question<ComposePin>> = {},
): Promise<Proposal> {
  const from = await target.observe(signal)
  const base = { release: 'v1', rung: 'up', needs: [], dependents: [], dependencies: [], upgradedAt: null }
  return target.propose({ from, to, signal, mode: 'full', ...base, ...more })
}

/** The findings as "level code", sorted. */
export function codes(proposal: Proposal): string[] {
  return proposal.findings.map(f => `${f.level} ${f.code}`).sort()
}

/** What a step is given in a run of its own: tests go on at the same time, and look for each other's marks. */
export function actOf(step: Step): StepAct {
  return stepAct(step, randomBytes(4).toString('hex'))
}

/** Applies every step in its order, and answers the verdicts. */
export async function run(
  target: Target<ComposePin>,
  proposal: Proposal,
  more: Partial<StepAct> = {},
): Promise<string[]> {
  const verdicts: string[] = []
  for (const step of ordered(proposal)) {
    const handles = new Map()
    const idem = randomBytes(4).toString('hex')
    await target.apply(step, { ...stepAct(step, idem, handles), ...more })
    verdicts.push((await target.verify(step, { ...stepAct(step, idem, handles), ...more })).is)
  }
  return verdicts
}
