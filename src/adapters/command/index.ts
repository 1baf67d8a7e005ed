import { resolve } from 'node:path'
import { z } from 'zod'
import type { Adapter, Observation, OpenContext, Step, StepAct, Target, Verdict } from '../../core/contract.ts'
import { NOTHING } from '../../core/contract.ts'
import { BackoutError, messageOf } from '../../core/errors.ts'
import { canonical, sameJson } from '../../core/json.ts'
import type { Text } from '../../core/secret.ts'
import { groupAlive } from '../../exec/local.ts'
import { lastLines, runUser } from '../../exec/words.ts'
import { type Config, config, type Pin, pin } from './config.ts'
import { haltVerdict, untilHalted } from './halt.ts'
import { type Args, propose } from './propose.ts'
import { failed, looked, type Run, readJson, strange } from './read.ts'

/** The way out for everything else: a component that the user's own commands observe, take back and verify. */
export const command: Adapter<Config, Pin> = {
  kind: 'command',
  config,
  pin,
  pinVersion: 1,
  open: async (settings, ctx) => target(settings, ctx),
}

/** Goes into one environment variable, of which Linux allows 128 KiB. */
const MAX_PIN = 64 * 1024

/** What is only there for others. */
const SERVING: Omit<Observation, 'identity'> = {
  state: null,
  detail: null,
  summary: 'only serves others',
  inFlight: [],
}

function target(config: Config, ctx: OpenContext): Target<Pin> {
  const { component } = ctx
  const base = {
    cwd: resolve(ctx.baseDir, config.cwd ?? '.'),
    env: { ...config.env, BACKOUT_COMPONENT: component, BACKOUT_ENVIRONMENT: ctx.environment },
  }
  const bounds = { limitMs: config.readLimit, keepBytes: 1 << 20 }
  const read: Run = (argv, signal, { env, ...more } = {}) =>
    runUser({ ...base, ...bounds, ...more, argv, env: { ...base.env, ...env } }, signal)
  return {
    rungs: [{ id: 'command', tier: config.tier, title: config.title }],
    serves: (['drained', 'stopped', 'redeployed'] as const).filter(what => config.serves[what] !== undefined),
    async observe(signal): Promise<Observation> {
      const identity = await identify(config, component, read, signal)
      if (config.observe === undefined) return { ...SERVING, identity }
      return { identity, ...(await looked(config.observe, component, read, signal)) }
    },
    async capture(from, act) {
      const env = { BACKOUT_RELEASE: act.release, BACKOUT_STATE: canonical(from.state) }
      const data =
        config.capture === undefined ? from.state : await readJson(config.capture, component, read, act.signal, { env })
      return fitting({ identity: from.identity, summary: from.summary, state: from.state, data }, component)
    },
    async propose(question) {
      const { from, to } = question
      if (to.identity === from.identity) return propose(config, component, question)
      const what = `The pin of ${component} belongs to another system: ${to.identity}, not ${from.identity}`
      const remedy = 'go back to a release captured on this system, or correct `identity`'
      return { ...NOTHING, findings: [{ level: 'blocker', code: 'other_identity', component, what, remedy }] }
    },
    apply: async (step, act) => {
      await apply(config, base, step, act)
      if ((step.args as Args).run === 'halt') await untilHalted(config, step, read, act)
    },
    verify: (step, act) => verify(config, read, step, act),
    [Symbol.asyncDispose]: async () => {},
  }
}

/** The commands of a step. */
function pairOf(
  { serves, ...own }: Config,
  { run }: Args,
): { apply: readonly Text[]; verify?: readonly Text[] | undefined } {
  if (run === 'apply' && own.apply !== undefined) return { apply: own.apply, verify: own.verify }
  if (run === 'halt' && own.halt !== undefined) return { apply: own.halt }
  const [what, undo, stage = '1'] = run.split('/') as ['drained' | 'stopped' | 'redeployed', string?, string?]
  const service = run === 'apply' || run === 'halt' ? undefined : serves[what]
  const pair = undo === undefined ? service : service?.undo?.[Number(stage) - 1]
  if (pair !== undefined) return pair
  throw new BackoutError({
    code: 'settings_changed',
    what: `The settings no longer have the commands for ${run}, which the plan was made with`,
    next: 'put them back, or make a new plan',
    exit: 'moved',
  })
}

function envOf({ pin, release }: Args, step: Step, act: StepAct): Record<string, string> {
  return {
    BACKOUT_PIN: canonical(pin.data),
    BACKOUT_STATE: canonical(pin.state),
    BACKOUT_RELEASE: release,
    BACKOUT_STEP: step.id,
    BACKOUT_ATTEMPT: String(act.attempt),
  }
}

/** What `apply` keeps of the command that it started. `ended` is null until the command has ended by itself. */
const handle = z.object({ pgid: z.number(), ended: z.number().nullable() })

async function apply(
  config: Config,
  base: { cwd: string; env: Record<string, Text> },
  step: Step,
  act: StepAct,
): Promise<void> {
  const args = step.args as Args
  const { apply: argv } = pairOf(config, args)
  if (args.run === 'apply') accepted(config, step, act)
  act.signal.throwIfAborted()
  act.guard()
  let group = 0
  const onSpawn = async (pgid: number) => {
    group = pgid
    await act.note({ pgid, ended: null })
    act.guard()
  }
  const env = { ...base.env, ...envOf(args, step, act) }
  const result = await runUser({ ...base, argv, env, idem: act.idem, limitMs: config.limit, onSpawn }, act.signal)
  await act.note({ pgid: group, ended: result.code })
  if (result.code !== 0) throw failed(argv, step.component, result)
}

function accepted({ impact }: Config, step: Step, act: StepAct): void {
  const loss = impact.loss.map(l => ({ ...l, since: null }))
  if (loss.length === 0 || act.accepts(loss)) return
  throw new BackoutError({
    code: 'loss_not_accepted',
    what: `${step.title} would lose more than was accepted: ${loss.map(l => `${l.count} ${l.unit} of ${l.what}`).join(', ')}`,
    next: 'look at the plan again, and approve it with this loss',
    exit: 'waiting',
  })
}

/** What was begun and still runs is followed. Otherwise the verify command says, and where there is none, exit 0 and `observe`. */
async function verify(config: Config, read: Run, step: Step, act: StepAct): Promise<Verdict> {
  const begun = handle.safeParse(act.handle).data
  if (begun?.ended === null && (await groupAlive(begun.pgid, act.idem))) {
    return { is: 'running', why: `process group ${begun.pgid} of an earlier attempt is still alive` }
  }
  const args = step.args as Args
  try {
    if (args.run === 'halt') return await haltVerdict(config, step, read, act)
    const { verify: argv } = pairOf(config, args)
    if (argv === undefined) {
      if (begun?.ended === 0 && args.run === 'apply') return await isThere(config, read, step, act)
      return begun?.ended === 0 && act.earlier ? GONE_SINCE : withoutVerify(begun)
    }
    const { code, stdout, stderr } = await read(argv, act.signal, { env: envOf(args, step, act), idem: act.idem })
    const said = lastLines(stdout.trim() === '' ? stderr : stdout, 200)
    const why = `the verify command ended with exit ${code}${said === '' ? '' : `: ${said}`}`
    if (config.verdicts.done.includes(code)) return { is: 'done', why }
    if (config.verdicts.notDone.includes(code)) return { is: 'not-done', why }
    return { is: config.verdicts.running.includes(code) ? 'running' : 'unknown', why }
  } catch (error) {
    if (act.signal.aborted) throw act.signal.reason
    return { is: 'unknown', why: messageOf(error) }
  }
}

function withoutVerify(begun: z.infer<typeof handle> | undefined): Verdict {
  const nobody = 'there is no verify command to ask'
  if (begun === undefined) return { is: 'not-done', why: 'the command was never started' }
  if (begun.ended === 0) return { is: 'done', why: `exit 0, and ${nobody}` }
  if (begun.ended === null) return { is: 'unknown', why: `the command was interrupted, and ${nobody}` }
  return { is: 'unknown', why: `the command ended with exit ${begun.ended}, and ${nobody}` }
}

/** What is done for others is taken back within a run: that it was brought about in an earlier pass says nothing. */
const GONE_SINCE: Verdict = { is: 'not-done', why: 'it ended well in an earlier pass, and was not run in this one' }

/** Exit 0 alone proves nothing: a queued job has it too. `observe` tells whether the state is that of the release. */
async function isThere({ observe }: Config, read: Run, step: Step, act: StepAct): Promise<Verdict> {
  const why = 'exit 0, and there is no verify command to ask'
  if (observe === undefined) return { is: 'unknown', why }
  const { state, summary } = await looked(observe, step.component, read, act.signal)
  const there = sameJson(state, (step.args as Args).pin.state)
  return {
    is: there ? 'done' : 'unknown',
    why: `${why}; \`observe\` says ${summary}${there ? '' : ', which is not it'}`,
  }
}

async function identify({ identity }: Config, component: string, read: Run, signal: AbortSignal): Promise<string> {
  if (typeof identity === 'string') return `command:${identity}`
  const result = await read(identity.run, signal)
  if (result.code !== 0) throw failed(identity.run, component, result)
  const [first = ''] = result.stdout.trim().split('\n')
  if (first !== '') return `command:${first}`
  throw strange(identity.run, component, 'it printed nothing')
}

function fitting(captured: Pin, component: string): Pin {
  const bytes = Buffer.byteLength(canonical(captured.data)) + Buffer.byteLength(canonical(captured.state))
  if (bytes <= MAX_PIN) return pin.parse(captured)
  throw new BackoutError({
    code: 'pin_too_big',
    what: `What was captured of ${component} has ${bytes} bytes; a pin takes ${MAX_PIN}`,
    next: 'keep the content elsewhere, and let `capture` print where',
    exit: 'failed',
  })
}
