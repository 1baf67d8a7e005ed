import { systemClock } from '../../core/clock.ts'
import type { Adapter, Observation, OpenContext, Step, StepAct, Target, Verdict } from '../../core/contract.ts'
import { NOTHING } from '../../core/contract.ts'
import { BackoutError } from '../../core/errors.ts'
import type { Json } from '../../core/json.ts'
import { reveal } from '../../core/secret.ts'
import { unknownFor } from '../../core/unheard.ts'
import { shownUrl } from '../../exec/http.ts'
import { type Config, config, type Pin, type Place, pin, place } from './config.ts'
import { type Args, propose } from './propose.ts'
import { type Reading, Switch } from './switch.ts'
import { described, reached, shares } from './weights.ts'

/** Any traffic switch with an HTTP interface: weights of sides, and a maintenance page. */
export const trafficHttp: Adapter<Config, Pin> = {
  kind: 'traffic-http',
  config,
  pin,
  pinVersion: 1,
  open: async (settings, ctx) => target(settings, ctx),
}

const POLL_MS = 150
const TRIES = 4

function target(config: Config, ctx: OpenContext): Target<Pin> {
  const server = new Switch(config)
  const identity = identityOf(config, ctx)
  const { component } = ctx
  return {
    rungs: [{ id: 'weights', tier: 'platform', title: 'put the weights of the release back' }],
    serves: ['drained'],
    async observe(signal): Promise<Observation> {
      const now = await server.read(signal)
      const state = { weights: now.weights && shares(now.weights), maintenance: now.maintenance }
      const detail = { weights: now.weights, maintenance: now.maintenance, open: now.open, guarded: now.etag !== null }
      return { identity, state, detail, summary: described(now), inFlight: [] }
    },
    capture: async observed => ({ identity: observed.identity, ...placeOf(observed) }),
    async propose(question) {
      if (question.to.identity === identity) return propose(config, component, placeOf(question.from), question)
      const what = `The pin of ${component} belongs to another switch: ${question.to.identity}, not ${identity}`
      const remedy = 'go back to a release captured on this switch, or set `identity` where the switch only moved'
      return { ...NOTHING, findings: [{ level: 'blocker', code: 'other_identity', component, what, remedy }] }
    },
    async apply(step, act) {
      const { goal, wait, always = false } = step.args as Args
      await put(server, goal, always, act)
      if (wait && config.drained !== undefined) await drain(server, config.drained, step, act)
    },
    verify: (step, act) => verify(server, step, act),
    [Symbol.asyncDispose]: async () => {},
  }
}

/** A secret address is not shown, but its keyed hash still tells two switches apart. */
function identityOf({ identity, read }: Config, { vault }: OpenContext): string {
  if (identity !== undefined) return `traffic-http:${identity}`
  const { url } = read
  if (typeof url === 'string') return `traffic-http:${shownUrl(url)}`
  return `traffic-http:mac-${vault.mac(new TextEncoder().encode(reveal(url))).slice(0, 16)}`
}

/** The exact weights stand in the detail; the state holds shares, which do not change with the scale. */
function placeOf({ detail }: Observation): Place {
  const { weights, maintenance } = detail as Place
  return place.parse({ weights, maintenance })
}

/** Weights first, so that a maintenance mode is left only once what is behind it is right; entered, it goes first. */
async function put(server: Switch, goal: Place, always: boolean, act: StepAct): Promise<void> {
  const parts: Place[] = []
  if (goal.weights !== null) parts.push({ weights: goal.weights, maintenance: null })
  if (goal.maintenance !== null) parts.push({ weights: null, maintenance: goal.maintenance })
  for (const part of goal.maintenance === true ? parts.toReversed() : parts) await putPart(server, part, always, act)
}

/** Guarded by the switch's ETag: where the state changed after it was read, it is read again. Returns once it shows. */
async function putPart(server: Switch, part: Place, always: boolean, act: StepAct): Promise<void> {
  let now = await server.read(act.signal)
  let written = !always
  for (let tries = 0; tries < TRIES && !(written && reached(now, part)); tries++) {
    act.signal.throwIfAborted()
    act.guard()
    const taken =
      part.weights === null
        ? await server.putMaintenance(part.maintenance === true, now.etag, act.signal)
        : await server.putWeights(part.weights, now.etag, act.signal)
    if (taken) await act.note({ ...noted(act), accepted: systemClock.now() })
    written ||= taken
    now = await (taken ? shown(server, part, act.signal) : server.read(act.signal))
    if (taken && !reached(now, part)) break
  }
  if (!reached(now, part)) throw ignored(now, part, server.config.ifMatch)
}

/** What the switch has once `part` shows there, or after a while. */
async function shown(server: Switch, part: Place, signal: AbortSignal): Promise<Reading> {
  const until = performance.now() + server.config.takesEffectWithin
  for (;;) {
    const now = await server.read(signal)
    if (reached(now, part) || performance.now() > until) return now
    await systemClock.sleep(POLL_MS, signal)
  }
}

function ignored(now: Reading, goal: Place, ifMatch: boolean): BackoutError {
  const weak = ifMatch && now.etag?.startsWith('W/') === true
  return new BackoutError({
    code: 'switch_not_taken',
    what: `The traffic switch did not take the change: it has ${described(now)}, and was told ${described(goal)}`,
    cause: weak
      ? `its ETag ${now.etag} is a weak one, which a strict switch never takes as a guard`
      : 'somebody else changes it at the same time, or it does not do what it answers',
    next: weak
      ? 'set `ifMatch: false`, or let the switch give strong ETags, then go on'
      : 'find out who else writes to it (a controller, another operator), stop that, then go on',
    exit: 'failed',
  })
}

/** Waits for open requests. What then happens with those that stay is a setting. */
async function drain(server: Switch, how: NonNullable<Config['drained']>, step: Step, act: StepAct): Promise<void> {
  const until = performance.now() + how.within
  for (;;) {
    const { open } = await server.read(act.signal)
    if (open === 0) return
    act.progress({ text: `${open} requests are still open` })
    if (performance.now() < until) {
      await systemClock.sleep(POLL_MS, act.signal)
      continue
    }
    const seconds = how.within / 1000
    if (how.then === 'fail') {
      throw new BackoutError({
        code: 'requests_still_open',
        what: `${open} requests of ${step.component} were still open after ${seconds} s`,
        next: 'raise `drained.within`, set `drained.then: go-on`, or end them, then go on',
        exit: 'failed',
      })
    }
    await act.note({ ...noted(act), waited: how.within })
    return act.tell({
      kind: 'side-effect',
      text: `${open} requests of ${step.component} were still open after ${seconds} s; what stops next will cut them`,
      data: { open },
    })
  }
}

interface Noted {
  /** When the switch accepted a write last; milliseconds since 1970. */
  readonly accepted?: number
  readonly waited?: number
}

function noted({ handle }: StepAct): Noted & Record<string, Json> {
  return (handle ?? {}) as Noted & Record<string, Json>
}

/** What was accepted a moment ago may still take effect. A clock that was set back tells nothing. */
function pending({ config }: Switch, accepted: number | undefined, why: string): Verdict | null {
  if (accepted === undefined) return null
  const since = systemClock.now() - accepted
  if (since < 0 || since >= config.takesEffectWithin) return null
  return { is: 'running', why: `${why}; what it accepted may take ${config.takesEffectWithin / 1000} s until it shows` }
}

async function verify(server: Switch, step: Step, act: StepAct): Promise<Verdict> {
  const { goal, wait, always = false } = step.args as Args
  try {
    const now = await server.read(act.signal)
    const why = `the switch has ${described(now)}`
    const { accepted, waited } = noted(act)
    // What it reads may be what stood there before: something accepted earlier may be about to show.
    const written = accepted !== undefined && !act.earlier
    if (always && !written) return { is: 'not-done', why: `${why}, and was not told so by this step` }
    if (!reached(now, goal)) return pending(server, accepted, why) ?? { is: 'not-done', why }
    if (!wait || now.open === null || now.open === 0) return { is: 'done', why }
    if (waited === undefined) return { is: 'not-done', why: `${why}, but ${now.open} requests are still open` }
    return { is: 'done', why: `${why}; ${now.open} requests were given ${waited / 1000} s and are still open` }
  } catch (error) {
    if (act.signal.aborted) throw act.signal.reason
    return unknownFor(error)
  }
}
