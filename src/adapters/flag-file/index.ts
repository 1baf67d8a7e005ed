import { resolve } from 'node:path'
import { z } from 'zod'
import type {
  Adapter,
  CaptureAct,
  Finding,
  Observation,
  OpenContext,
  Proposal,
  Question,
  Step,
  StepAct,
  Target,
  Verdict,
} from '../../core/contract.ts'
import { NOTHING } from '../../core/contract.ts'
import { BackoutError, messageOf } from '../../core/errors.ts'
import { toJson } from '../../core/json.ts'
import { readWhole, type WholeFile } from '../../exec/atomic-file.ts'
import { verifyCommand } from '../../exec/command-step.ts'
import { applyReload, fileDue, fileReload, noteDue } from '../../exec/reload-due.ts'
import { owner, ownerOf, verifyFile, writeFile } from '../../exec/whole-file.ts'
import { type FlagFileConfig, type FlagFilePin, flagFileConfig, flagFilePin } from './config.ts'
import { type Composed, changesBetween, composed, statesOf } from './flags.ts'

/** Feature flags in a file. */
export const flagFile: Adapter<FlagFileConfig, FlagFilePin> = {
  kind: 'flag-file',
  config: flagFileConfig,
  pin: flagFilePin,
  pinVersion: 1,
  open: async (config, ctx) => targetOf({ config, ctx, path: resolve(ctx.baseDir, config.path) }),
}

interface Site {
  readonly config: FlagFileConfig
  readonly ctx: OpenContext
  readonly path: string
}

const writeArgs = z.object({
  sealed: z.object({ id: z.string(), mac: z.string() }),
  /** Of the content that will stand there. */
  mac: z.string(),
  mode: z.number(),
  owner,
})

function targetOf(site: Site): Target<FlagFilePin> {
  return {
    rungs: [{ id: 'write', tier: 'release', title: 'write the flags of the release' }],
    serves: [],
    observe: () => observe(site),
    capture: (_, act) => capture(site, act),
    propose: question => propose(site, question),
    apply: (step, act) => apply(site, step, act),
    verify: (step, act) => verify(site, step, act),
    [Symbol.asyncDispose]: async () => {},
  }
}

function identityOf(site: Site): string {
  return `file:${site.path}`
}

/** What came of it, or why nothing did. */
function tried<T>(act: () => T): T | BackoutError {
  try {
    return act()
  } catch (error) {
    if (error instanceof BackoutError) return error
    throw error
  }
}

/** A file that is broken is still a file that can be gone back from: its flags are then unknown. */
function statesIn(site: Site, file: WholeFile | null): Record<string, string> | null {
  if (file === null) return {}
  const states = tried(() => statesOf(file.content, site.config.format, site.path))
  return states instanceof BackoutError ? null : states
}

async function observe(site: Site): Promise<Observation> {
  const file = await readWhole(site.path)
  const flags = statesIn(site, file)
  const due = await fileDue(site, file)
  const state = { mac: file === null ? null : site.ctx.vault.mac(file.content), flags }
  const count = flags === null ? 'not readable' : `${Object.keys(flags).length} flags`
  return {
    identity: identityOf(site),
    state: due ? { ...state, reloadDue: true } : state,
    detail: file === null ? null : { bytes: file.content.length, mode: file.mode },
    summary: file === null ? 'there is no file' : due ? `${count}, not reloaded` : count,
    inFlight: [],
  }
}

async function capture(site: Site, act: CaptureAct): Promise<FlagFilePin> {
  const file = await readWhole(site.path)
  if (file === null) {
    throw new BackoutError({
      code: 'file_missing',
      what: `There is no file ${site.path} to capture`,
      next: 'look at `path:` of the component',
      exit: 'blocked',
    })
  }
  // A release with a broken flag file is none to go back to; a departure is taken as it is.
  const flags = act.purpose === 'release' ? statesOf(file.content, site.config.format, site.path) : null
  const sealed = await act.vault.seal(file.content, `${site.ctx.component}: ${site.path}`)
  const mac = act.vault.mac(file.content)
  const owner = ownerOf(file)
  return { identity: identityOf(site), mac, sealed, mode: file.mode, owner, flags: flags ?? statesIn(site, file) ?? {} }
}

async function propose(site: Site, question: Question<FlagFilePin>): Promise<Proposal> {
  const { to, release } = question
  const findings: Finding[] = []
  const say = (level: Finding['level'], code: string, what: string, remedy: string) =>
    findings.push({ level, code, component: site.ctx.component, what, remedy })
  if (to.identity !== identityOf(site)) {
    const what = `The release ${release} holds ${to.identity}, this is ${identityOf(site)}`
    say('blocker', 'other_identity', what, 'see that `path:` names the file that was captured')
    return { ...NOTHING, findings }
  }
  const then = await site.ctx.vault.open(to.sealed).catch((error: unknown) => messageOf(error))
  if (typeof then === 'string') {
    const what = `The content of ${site.path} at ${release} is gone from the vault: ${then}`
    say('blocker', 'content_gone', what, 'bring the vault back from where copies are kept')
    return { ...NOTHING, findings }
  }
  const now = await readWhole(site.path)
  const made = tried(() => compose(site, then, now))
  if (made instanceof BackoutError) {
    say('blocker', made.code, `${made.message}, as it was at ${release}: ${made.why}`, 'take the flags out of `off`')
    return { ...NOTHING, findings }
  }
  for (const name of made.unknown) {
    const what = `There is no flag ${name} in ${site.path}, neither now nor at ${release}: nothing is turned off`
    say('warning', 'flag_unknown', what, 'correct its name in `off`, or take it out')
  }
  const mac = site.ctx.vault.mac(made.content)
  if (now !== null && site.ctx.vault.mac(now.content) === mac) {
    const same = await reloadOnly(site, question, now)
    return { ...same, findings: [...findings, ...same.findings] }
  }
  for (const why of made.stuck) say('blocker', 'flag_not_off', `Cannot turn off ${why}`, 'take it out of `off`')
  const flags = statesIn(site, now)
  if (flags === null) say('warning', 'flags_unreadable', `${site.path} is not readable as it is now`, 'it is replaced')
  const goal = tried(() => statesOf(made.content, site.config.format, site.path))
  if (goal instanceof BackoutError) {
    const what = `${site.path} was not readable either when ${release} was captured`
    say('warning', 'flags_unreadable', what, 'it is put back as it was; repair it afterwards')
  }
  const changes = goal instanceof BackoutError ? [] : changesBetween(flags ?? {}, goal)
  if (changes.length > 0) say('note', 'flags_change', changes.join('; '), '')
  const steps = stepsFor(site, { sealed: to.sealed, mac, mode: now?.mode ?? to.mode, owner: to.owner })
  return {
    ...NOTHING,
    change: { from: question.from.summary, to: `the flags of ${release}` },
    findings,
    steps,
    phases: { flags: { seq: steps.map(s => ({ step: s.id })) } },
  }
}

async function reloadOnly(site: Site, { from, release }: Question<FlagFilePin>, now: WholeFile): Promise<Proposal> {
  if (!(await fileDue(site, now))) return NOTHING
  const step = fileReload(site)
  const change = { from: from.summary, to: `the flags of ${release}, reloaded` }
  return { ...NOTHING, change, steps: [step], phases: { flags: { step: step.id } } }
}

/** A file that is broken today has no flags to bring along. */
function compose(site: Site, then: Uint8Array, now: WholeFile | null): Composed {
  const today = now !== null && statesIn(site, now) !== null ? now.content : null
  return composed(then, today, site.config)
}

function stepsFor(site: Site, args: z.infer<typeof writeArgs>): Step[] {
  const { component } = site.ctx
  const write: Step = {
    id: `${component}/write`,
    component,
    title: `write ${site.config.path}`,
    args: toJson(args),
    limitMs: 30_000,
    retries: 2,
    estimateMs: 50,
    onUnknown: 'ask',
  }
  return site.config.reload === undefined ? [write] : [write, fileReload(site)]
}

async function apply(site: Site, step: Step, act: StepAct): Promise<void> {
  if (step.id.endsWith('/reload')) return applyReload(step, site.config.reload ?? [], site.ctx, act)
  act.signal.throwIfAborted()
  const args = writeArgs.parse(step.args)
  const then = await act.vault.open(args.sealed)
  const now = await readWhole(site.path)
  const { content } = compose(site, then, now)
  if (site.config.reload !== undefined) await noteDue(site.ctx, args.mac, act)
  await writeFile({ path: site.path, label: site.ctx.component, now, content, ...args }, act)
}

async function verify(site: Site, step: Step, act: StepAct): Promise<Verdict> {
  if (step.id.endsWith('/reload')) return verifyCommand(act)
  return verifyFile(site.path, writeArgs.parse(step.args).mac, act)
}
