import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Adapter, Need, Observation, Proposal, Question, Target } from '../../src/core/contract.ts'
import { canonical, type Json } from '../../src/core/json.ts'
import { ordered, stepAct, walk } from './walk.ts'

/** A real system on which an adapter is tried. `A` is the good release, `B` the bad one. */
export interface Case<Pin> {
  /** Opens the component afresh, as another process would. The suite disposes of what it opened. */
  open(): Promise<Target<Pin>>
  /** Puts the bad release there, by the system's own means, not through Backout. */
  upgrade(): Promise<void>
  /** Asks the system itself, not through Backout, which release it serves. */
  serves(): Promise<'A' | 'B' | 'other'>
  /** The same component of another system, to prove that a pin is not applied to the wrong one. */
  openOther?(): Promise<Target<Pin>>
  /** What other components would ask during a rollback. */
  needs?: readonly Need[]
  dependents?: Question<Pin>['dependents']
  dependencies?: Question<Pin>['dependencies']
  /** Values that may appear nowhere in pins, observations, proposals. */
  secrets?: readonly string[]
  dispose(): Promise<void>
}

export interface ConformanceOptions<Pin> {
  readonly adapter: Pick<Adapter<unknown, Pin>, 'pin'>
  /** Makes a fresh system that serves release A. */
  make: () => Promise<Case<Pin>>
  /** Rungs tried, each on a system of its own; all that the target has, if not given. A reason why one is not stands beside it. */
  readonly rungs: readonly string[]
}

/** Everything that the contract promises, tried on a real system. Every adapter runs this. */
export function conformance<Pin>(name: string, options: ConformanceOptions<Pin>): void {
  describe(`${name} keeps the contract of an adapter`, () => {
    for (const rung of options.rungs) describe(`rung ${rung}`, () => rungSuite(options, rung))
  })
}

function rungSuite<Pin>({ adapter, make }: ConformanceOptions<Pin>, rung: string): void {
  let system: Case<Pin>
  let target: Target<Pin>
  let atA: Observation
  let pin: Pin
  const signal = new AbortController().signal
  const question = (from: Observation, more: Partial<Question<Pin>> = {}): Question<Pin> => ({
    from,
    to: pin,
    release: 'A',
    rung,
    needs: system.needs ?? [],
    dependents: system.dependents ?? [],
    dependencies: system.dependencies ?? [],
    upgradedAt: null,
    mode: 'full',
    signal,
    ...more,
  })

  beforeAll(async () => {
    system = await make()
    target = await system.open()
    atA = await target.observe(signal)
    pin = await target.capture(atA, { ...stepAct(), purpose: 'release', release: 'A' })
  })
  afterAll(async () => {
    await target?.[Symbol.asyncDispose]()
    await system?.dispose()
  })

  it('starts on release A', async () => expect(await system.serves()).toBe('A'))

  it('knows the rung', () => expect(target.rungs.map(r => r.id)).toContain(rung))

  it('tells what became of a command that it ran for a step, where it runs any', async () => {
    expect(target.execLeft !== undefined).toBe(target.exec !== undefined)
    expect((await target.execLeft?.('r1.never.begun', signal)) ?? null).toBeNull()
  })

  it('observes the same thing twice, and changes nothing by looking', async () => {
    const again = await target.observe(signal)
    expect(again.identity).toBe(atA.identity)
    expect(canonical(again.state)).toBe(canonical(atA.state))
    expect(await system.serves()).toBe('A')
  })

  it('has a pin that survives the ledger', () => {
    expect(adapter.pin.parse(JSON.parse(JSON.stringify(pin)))).toEqual(pin)
  })

  it('proposes nothing where nothing would change and nobody asks', async () => {
    const proposal = await target.propose(question(atA, { needs: [] }))
    expect({ change: proposal.change, steps: proposal.steps }).toEqual({ change: null, steps: [] })
  })

  it('sees the upgrade', async () => {
    await system.upgrade()
    expect(await system.serves()).toBe('B')
    const atB = await target.observe(signal)
    expect(atB.identity).toBe(atA.identity)
    expect(canonical(atB.state)).not.toBe(canonical(atA.state))
    expect(atB.summary).not.toBe('')
  })

  it('proposes by reading only, the same each time, with steps that stand in one phase each', async () => {
    const atB = await target.observe(signal)
    const [one, two] = [await target.propose(question(atB)), await target.propose(question(atB))]
    expect(one.findings.filter(f => f.level === 'blocker')).toEqual([])
    expect(one.change).not.toBeNull()
    expect(one.steps.length).toBeGreaterThan(0)
    expect(canonical(one.steps.map(withoutEstimate))).toBe(canonical(two.steps.map(withoutEstimate)))
    expect(
      ordered(one)
        .map(s => s.id)
        .sort(),
    ).toEqual(
      one.steps
        .map(s => s.id)
        .filter(id => !onlySafe(one, id))
        .sort(),
    )
    expect(await system.serves()).toBe('B')
  })

  it('refuses a pin of another system', async () => {
    if (system.openOther === undefined) return
    const other = await system.openOther()
    try {
      const proposal = await other.propose(question(await other.observe(signal)))
      expect(proposal.findings.map(f => f.level)).toContain('blocker')
    } finally {
      await other[Symbol.asyncDispose]()
    }
  })

  it('touches nothing when aborted, or when it may no longer own the run', async () => {
    const proposal = await target.propose(question(await target.observe(signal)))
    const first = ordered(proposal)[0]
    if (first === undefined) throw new Error('no step')
    const gone = new AbortController()
    gone.abort(new Error('aborted'))
    await expect(target.apply(first, { ...stepAct(first), signal: gone.signal })).rejects.toThrow()
    const lost = () => {
      throw new Error('lost the lock')
    }
    await expect(target.apply(first, { ...stepAct(first), guard: lost })).rejects.toThrow('lost the lock')
    expect((await target.verify(first, stepAct(first))).is).toBe('not-done')
    expect(await system.serves()).toBe('B')
  })

  it('goes back, asked by a fresh process before and after each step', async () => {
    const proposal = await target.propose(question(await target.observe(signal)))
    const verdicts = await walk(proposal, () => system.open())
    expect(verdicts).toEqual(ordered(proposal).map(step => ({ step: step.id, before: 'not-done', after: 'done' })))
    expect(await system.serves()).toBe('A')
    const after = await target.observe(signal)
    expect(canonical(after.state)).toBe(canonical(atA.state))
  })

  it('has nothing left to do afterwards', async () => {
    const proposal = await target.propose(question(await target.observe(signal), { needs: [] }))
    expect(proposal.steps).toEqual([])
  })

  it('goes back again after the bad release came again', async () => {
    await system.upgrade()
    expect(await system.serves()).toBe('B')
    await walk(await target.propose(question(await target.observe(signal))), () => system.open(), '2')
    expect(await system.serves()).toBe('A')
  })

  it('shows no secret', async () => {
    const observed = await target.observe(signal)
    const all = JSON.stringify([pin, observed, await target.propose(question(observed))])
    for (const value of system.secrets ?? []) expect(all).not.toContain(value)
  })
}

/** Steps that take users to safety may stand in no phase: they are applied only when something goes wrong. */
function onlySafe(proposal: Proposal, id: string): boolean {
  return proposal.safe.includes(id) && !ordered(proposal).some(step => step.id === id)
}

function withoutEstimate(step: Proposal['steps'][number]): Json {
  return { ...step, estimateMs: 0 } as unknown as Json
}
