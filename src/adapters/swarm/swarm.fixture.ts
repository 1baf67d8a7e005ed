import { ordered, stepAct } from '../../../test/conformance/walk.ts'
import type { SwarmEngine } from '../../../test/support/swarm.ts'
import type { OpenContext, Proposal, Question, Step, StepAct, Target, Vault } from '../../core/contract.ts'
import { swarm } from './index.ts'
import type { SwarmPin } from './pin.ts'

const signal = new AbortController().signal

/** Opens services as another process would; all share one vault. */
export async function open(
  engine: Pick<SwarmEngine, 'host'>,
  settings: { readonly limits?: object; readonly [other: string]: unknown },
  vault: Vault = stepAct().vault,
): Promise<Target<SwarmPin>> {
  const { backups } = stepAct()
  const ctx: OpenContext = { environment: 'test', component: 'web', baseDir: '/', stateDir: '/', vault, backups }
  return swarm.open(
    swarm.config.parse({
      engine: engine.host,
      ...settings,
      limits: { update: '60s', settle: '300ms', ...settings.limits },
    }),
    ctx,
  )
}

export async function captured(target: Target<SwarmPin>, vault = stepAct().vault): Promise<SwarmPin> {
  return target.capture(await target.observe(signal), { ...stepAct(), vault, purpose: 'release', release: 'v1' })
}

/** A service of v1, captured. */
export async function shopOn(engine: SwarmEngine, name: string, more: readonly string[] = [], image = 'shop:v1') {
  await engine.create(name, image, ...more)
  const target = await open(engine, { services: [name] })
  return { name, target, pin: await captured(target) }
}

export async function proposed(
  target: Target<SwarmPin>,
  to: SwarmPin,
  rung = 'update',
  more: Partial<Question<SwarmPin>> = {},
): Promise<Proposal> {
  const from = await target.observe(signal)
  const base = { release: 'v1', needs: [], dependents: [], dependencies: [], upgradedAt: null, mode: 'full' as const }
  return target.propose({ from, to, rung, signal, ...base, ...more })
}

/** The findings as "level code", sorted. */
export function codes(proposal: Proposal): string[] {
  return proposal.findings.map(f => `${f.level} ${f.code}`).sort()
}

/** Applies every step in its order, and answers the verdicts. */
export async function run(
  target: Target<SwarmPin>,
  proposal: Proposal,
  more: Partial<StepAct> = {},
): Promise<string[]> {
  const verdicts: string[] = []
  for (const step of ordered(proposal)) {
    const act = { ...stepAct(step, `r${++runs}`), ...more }
    await target.apply(step, act)
    verdicts.push(await followed(target, step, act))
  }
  return verdicts
}

/** What the target says in the end, as the executor asks it. */
async function followed(target: Target<SwarmPin>, step: Step, act: StepAct): Promise<string> {
  for (let i = 0; i < 200; i++) {
    const { is } = await target.verify(step, act)
    if (is !== 'running') return is
    await new Promise(resolve => setTimeout(resolve, 200))
  }
  return 'running'
}

let runs = 0
