import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { hosts } from '../../src/adapters/hosts/index.ts'
import type { HostsPin } from '../../src/adapters/hosts/pin.ts'
import type { OpenContext, Proposal, Question, Step, Target } from '../../src/core/contract.ts'
import { memoryBackups, memoryVault } from '../conformance/stores.ts'
import { stepAct } from '../conformance/walk.ts'

const signal = new AbortController().signal

export function contextIn(dir: string): OpenContext {
  return {
    environment: 'test',
    component: 'shop',
    baseDir: dir,
    stateDir: join(dir, 'state'),
    backups: memoryBackups(),
    vault: memoryVault(),
  }
}

/** Opens a `hosts` component from settings as they stand in a file. */
export async function openHosts(dir: string, settings: object): Promise<Target<HostsPin>> {
  return hosts.open(hosts.config.parse(settings), contextIn(dir))
}

export async function captured(
  target: Target<HostsPin>,
  purpose: 'release' | 'departure' = 'release',
): Promise<HostsPin> {
  return target.capture(await target.observe(signal), { ...stepAct(), purpose, release: 'good' })
}

export async function proposed(
  target: Target<HostsPin>,
  to: HostsPin,
  more: Partial<Question<HostsPin>> = {},
): Promise<Proposal> {
  return target.propose({
    from: await target.observe(signal),
    to,
    release: 'good',
    rung: target.rungs[0]?.id ?? '',
    needs: [],
    dependents: [],
    dependencies: [],
    upgradedAt: null,
    mode: 'full',
    signal,
    ...more,
  })
}

export function stepOf(proposal: Proposal, id: string): Step {
  const step = proposal.steps.find(s => s.id === id)
  if (step === undefined) throw new Error(`no step ${id} among ${proposal.steps.map(s => s.id).join(', ')}`)
  return step
}

/** The findings as "level code", sorted. */
export function codes(proposal: Proposal): string[] {
  return proposal.findings.map(f => `${f.level} ${f.code}`).sort()
}

export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 400; i++) {
    if (await holds()) return
    await new Promise(resolve => setTimeout(resolve, 25))
  }
  throw new Error(`never: ${what}`)
}

/** Another process that applies one step, to be killed in the middle. */
export function killable(dir: string, settings: object, step: Step): ChildProcess {
  const code = `
    import { openHosts } from ${JSON.stringify(import.meta.url)}
    import { stepAct } from ${JSON.stringify(import.meta.resolve('../conformance/walk.ts'))}
    const target = await openHosts(${JSON.stringify(dir)}, ${JSON.stringify(settings)})
    const step = ${JSON.stringify(step)}
    await target.apply(step, stepAct(step))`
  return spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: 'ignore' })
}
