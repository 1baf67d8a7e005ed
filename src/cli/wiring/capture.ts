import type { CaptureAct, Finding, Observation } from '../../core/contract.ts'
import { BackoutError, messageOf } from '../../core/errors.ts'
import type { Without } from '../../core/executor/world.ts'
import { askGate, type GateResult } from '../../core/gate.ts'
import type { Json } from '../../core/json.ts'
import { redact, redactJson } from '../../core/secret.ts'
import { runLocal } from '../../exec/local.ts'
import type { Capture, PinRecord } from '../../ledger/releases.ts'
import type { Environment } from './environment.ts'
import { gateOf } from './gates.ts'
import { movedBetween, type Observed, observeAll } from './observe.ts'
import type { Targets } from './targets.ts'

export interface CaptureOptions {
  readonly release: string
  readonly purpose: 'release' | 'departure'
  readonly signal: AbortSignal
  /** What was just observed; otherwise everything is observed for this capture. */
  readonly observed?: Observed | undefined
  /** Told of what cannot be captured, which then is left out; without it nothing is captured at all. */
  readonly without?: Without | undefined
  readonly onProgress?: (component: string, text: string) => void
}

/**
 * Writes down how to come back to what is there now: observe, capture every component, observe again. A capture during
 * which something moved is refused (`capture_moved`), for it would pin a state that never was.
 */
export async function captureAll(environment: Environment, targets: Targets, asked: CaptureOptions): Promise<Capture> {
  const { missing, options } = noting(asked)
  const before = options.observed ?? (await observeAll(environment, targets, options.signal))
  const unfit = options.purpose === 'release' && options.without !== undefined ? await leaveOut(before, options) : []
  if (unfit.length === 0) {
    refuseUnobserved(before.findings)
    refuseInFlight(
      [...before.observations].flatMap(([id, o]) => o.inFlight.map(op => `${id}: ${op.what}`)),
      options,
    )
  }
  // Nobody builds a fix on where a run began.
  const commit = options.purpose === 'release' ? commitOf(environment.config.baseDir) : null
  const components: Record<string, PinRecord> = {}
  await Promise.all(
    [...before.observations].map(async ([id, observed]) => {
      if (unfit.includes(id)) return
      const pin = await pinNow(environment, targets, id, observed, options)
      const adapter = environment.config.components[id]?.adapter
      if (adapter === undefined || pin === LEFT_OUT) return
      const { identity, summary } = observed
      components[id] = { adapter: adapter.kind, pinVersion: adapter.pinVersion, identity, summary, pin }
    }),
  )
  if (options.purpose === 'release') {
    const again = await observeAll(environment, targets, options.signal)
    const moved = movedBetween(before, again).filter(id => !unfit.includes(id))
    if (moved.length > 0 && options.without === undefined) throw captureMoved(options.release, moved)
    for (const id of moved.filter(id => components[id] !== undefined)) {
      delete components[id]
      await options.without?.(id, 'it changed while it was captured')
    }
  }
  const baseline = options.purpose === 'release' ? await baselineOf(environment, options.signal) : []
  return environment.ledger.releases.add({
    release: options.release,
    environment: environment.config.environment,
    purpose: options.purpose,
    commit: await commit,
    components: Object.fromEntries(Object.keys(environment.config.components).flatMap(id => pair(id, components[id]))),
    ...(Object.keys(missing).length === 0 ? {} : { missing }),
    backups: Object.values(components).flatMap(c => backupsIn(c.pin)),
    baseline,
  })
}

/** What is left out is also written down, so that nobody takes the capture for a whole one. */
function noting(asked: CaptureOptions): { missing: Record<string, string>; options: CaptureOptions } {
  const { without } = asked
  const missing: Record<string, string> = {}
  if (without === undefined) return { missing, options: asked }
  const noted: Without = async (id, why) => {
    missing[id] = redact(why)
    await without(id, why)
  }
  return { missing, options: { ...asked, without: noted } }
}

/** What cannot be asked, or is on its way to something else: told, and not captured. */
async function leaveOut({ findings, observations }: Observed, { without }: CaptureOptions): Promise<string[]> {
  const unasked = findings.map(f => ({ id: f.component, why: f.what }))
  const moving = [...observations].flatMap(([id, o]) => o.inFlight.map(op => ({ id, why: `${op.what} goes on` })))
  const all = [...unasked, ...moving].flatMap(({ id, why }) => (id === null ? [] : [{ id, why }]))
  const byId = Map.groupBy(all, ({ id }) => id)
  for (const [id, whys] of byId) await without?.(id, whys.map(({ why }) => why).join('; '))
  return [...byId.keys()]
}

const LEFT_OUT = Symbol('left out')

async function pinNow(
  environment: Environment,
  targets: Targets,
  id: string,
  observed: Observation,
  options: CaptureOptions,
): Promise<Json | typeof LEFT_OUT> {
  try {
    return await (await targets.get(id)).capture(observed, captureAct(environment, id, options))
  } catch (error) {
    if (options.without === undefined || options.signal.aborted) throw error
    await options.without(id, messageOf(error))
    return LEFT_OUT
  }
}

/** Every gate, measured once. A gate that fails is written down as it is: a capture is no judgement. */
async function baselineOf(environment: Environment, signal: AbortSignal): Promise<GateResult[]> {
  const results: GateResult[] = []
  for (const name of Object.keys(environment.config.gates)) {
    const { rule, probes } = gateOf(environment, name)
    results.push(await askGate({ ...rule, attempts: 1, pass: 1 }, probes, environment.clock, signal))
  }
  return redactJson(results) as unknown as GateResult[]
}

function pair(id: string, pin: PinRecord | undefined): [string, PinRecord][] {
  return pin === undefined ? [] : [[id, pin]]
}

/** Ids of backups that a pin names: any text that looks like one. */
export function backupsIn(pin: unknown): string[] {
  const text = JSON.stringify(pin) ?? ''
  return [...new Set([...text.matchAll(/"(\d{8}T\d{6}Z-[A-Za-z0-9._-]+-[0-9a-f]{6})"/g)].map(m => m[1] ?? ''))]
}

function captureAct(environment: Environment, id: string, options: CaptureOptions): CaptureAct {
  return {
    purpose: options.purpose,
    release: options.release,
    signal: options.signal,
    vault: environment.ledger.vault,
    backups: environment.ledger.backups,
    progress: p => options.onProgress?.(id, p.text),
  }
}

function refuseUnobserved(findings: readonly Finding[]): void {
  if (findings.length === 0) return
  const todo = [...new Set(findings.map(f => f.remedy))].join('; ')
  throw new BackoutError({
    code: 'capture_incomplete',
    what: 'The environment cannot be captured whole, so nothing was kept',
    cause: findings.map(f => f.what).join('\n'),
    next: `${todo}; then capture again`,
    exit: 'blocked',
  })
}

function refuseInFlight(operations: readonly string[], options: CaptureOptions): void {
  if (operations.length === 0 || options.purpose === 'departure') return
  throw new BackoutError({
    code: 'capture_moved',
    what: `${options.release} cannot be captured while something is still going on`,
    cause: operations.join('\n'),
    next: 'wait until it has ended, then capture again',
    exit: 'moved',
  })
}

function captureMoved(release: string, moved: readonly string[]): BackoutError {
  return new BackoutError({
    code: 'capture_moved',
    what: `${release} was not captured: ${moved.join(', ')} changed meanwhile, and a pin of a state that never was would be worse than none`,
    next: 'wait until nothing is being deployed, then capture again',
    exit: 'moved',
  })
}

async function commitOf(folder: string): Promise<string | null> {
  const git = await runLocal({ argv: ['git', '-C', folder, 'rev-parse', 'HEAD'], limitMs: 10_000 }).catch(() => null)
  return git?.code === 0 ? git.stdout.trim() : null
}
