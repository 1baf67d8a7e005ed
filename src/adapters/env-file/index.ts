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
import { bytesOf, composed, keysOf, textOf } from '../../exec/dotenv.ts'
import { keepsToday } from '../../exec/secret-names.ts'
import { type EnvFileConfig, type EnvFilePin, envFileConfig, envFilePin } from './config.ts'

/** Environment variables in a file. */
export const envFile: Adapter<EnvFileConfig, EnvFilePin> = {
  kind: 'env-file',
  config: envFileConfig,
  pin: envFilePin,
  pinVersion: 1,
  open: async (config, ctx) => targetOf({ config, ctx, path: resolve(ctx.baseDir, config.path) }),
}

interface Site {
  readonly config: EnvFileConfig
  readonly ctx: OpenContext
  readonly path: string
}

const writeArgs = z.object({
  sealed: z.object({ id: z.string(), mac: z.string() }),
  /** Of the content that will stand there, today's secrets included. */
  mac: z.string(),
  mode: z.number(),
  owner,
})

function targetOf(site: Site): Target<EnvFilePin> {
  return {
    rungs: [{ id: 'write', tier: 'release', title: 'write the file of the release' }],
    serves: [],
    observe: () => observe(site),
    capture: (_, act) => capture(site, act),
    propose: question => propose(site, question),
    apply: (step, act) => apply(site, step, act),
    verify: (step, act) => verify(site, step, act),
    [Symbol.asyncDispose]: async () => {},
  }
}

async function observe(site: Site): Promise<Observation> {
  const file = await readWhole(site.path)
  const keys = file === null ? null : keysOf(textOf(file.content))
  const due = await fileDue(site, file)
  const state = { mac: file === null ? null : site.ctx.vault.mac(file.content), keys }
  return {
    identity: identityOf(site),
    state: due ? { ...state, reloadDue: true } : state,
    detail: file === null ? null : { bytes: file.content.length, mode: file.mode },
    summary: keys === null ? 'there is no file' : `${keys.length} variables${due ? ', not reloaded' : ''}`,
    inFlight: [],
  }
}

function identityOf(site: Site): string {
  return `file:${site.path}`
}

async function capture(site: Site, act: CaptureAct): Promise<EnvFilePin> {
  const file = await readWhole(site.path)
  if (file === null) {
    throw new BackoutError({
      code: 'file_missing',
      what: `There is no file ${site.path} to capture`,
      next: 'look at `path:` of the component',
      exit: 'blocked',
    })
  }
  const sealed = await act.vault.seal(file.content, `${site.ctx.component}: ${site.path}`)
  const keys = keysOf(textOf(file.content))
  return {
    identity: identityOf(site),
    mac: act.vault.mac(file.content),
    sealed,
    mode: file.mode,
    owner: ownerOf(file),
    keys,
  }
}

async function propose(site: Site, question: Question<EnvFilePin>): Promise<Proposal> {
  const { to, release } = question
  const { component } = site.ctx
  const stop = (code: string, what: string, remedy: string): Proposal => ({
    ...NOTHING,
    findings: [{ level: 'blocker', code, component, what, remedy }],
  })
  if (to.identity !== identityOf(site)) {
    const what = `The release ${release} holds ${to.identity}, this is ${identityOf(site)}`
    return stop('other_identity', what, 'see that `path:` names the file that was captured')
  }
  const then = await site.ctx.vault.open(to.sealed).catch((error: unknown) => messageOf(error))
  if (typeof then === 'string') {
    const what = `The content of ${site.path} at ${release} is gone from the vault: ${then}`
    return stop('content_gone', what, 'bring the vault back from where copies are kept')
  }
  const now = await readWhole(site.path)
  const today = now === null ? null : textOf(now.content)
  const content = compose(site, then, today)
  const mac = site.ctx.vault.mac(content)
  if (now !== null && site.ctx.vault.mac(now.content) === mac) return reloadOnly(site, question, now)
  const steps = stepsFor(site, { sealed: to.sealed, mac, mode: now?.mode ?? to.mode, owner: to.owner })
  const keys = today === null ? [] : keysOf(today)
  return {
    ...NOTHING,
    change: { from: today === null ? 'no file' : `${keys.length} variables`, to: `the variables of ${release}` },
    findings: findingsOf(site, to, keys),
    steps,
    phases: { config: { seq: steps.map(s => ({ step: s.id })) } },
    impact: { ...NOTHING.impact, disappears: keys.filter(k => !to.keys.includes(k)).map(k => `variable ${k}`) },
  }
}

async function reloadOnly(site: Site, { from, release }: Question<EnvFilePin>, now: WholeFile): Promise<Proposal> {
  if (!(await fileDue(site, now))) return NOTHING
  const step = fileReload(site)
  const change = { from: from.summary, to: `the variables of ${release}, reloaded` }
  return { ...NOTHING, change, steps: [step], phases: { config: { step: step.id } } }
}

function compose(site: Site, then: Uint8Array, today: string | null): Buffer {
  return bytesOf(composed(textOf(then), today, key => keepsToday(site.config, key)))
}

/** Names, never values. */
function findingsOf(site: Site, to: EnvFilePin, today: readonly string[]): Finding[] {
  const kept = to.keys.filter(key => keepsToday(site.config, key))
  const { component } = site.ctx
  const out: Finding[] = []
  const staying = kept.filter(key => today.includes(key))
  if (staying.length > 0) {
    const what = `These keep today's value: ${staying.join(', ')}`
    const remedy = 'name those that must go back too in `pinned`'
    out.push({ level: 'note', code: 'secrets_current', component, what, remedy })
  }
  const gone = kept.filter(key => !today.includes(key))
  if (gone.length > 0) {
    const what = `These have no value today and get that of the release: ${gone.join(', ')}`
    const remedy = 'see that these secrets still are valid'
    out.push({ level: 'warning', code: 'secrets_of_the_release', component, what, remedy })
  }
  return out
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
  const content = compose(site, then, now === null ? null : textOf(now.content))
  if (site.config.reload !== undefined) await noteDue(site.ctx, args.mac, act)
  await writeFile({ path: site.path, label: site.ctx.component, now, content, ...args }, act)
}

async function verify(site: Site, step: Step, act: StepAct): Promise<Verdict> {
  if (step.id.endsWith('/reload')) return verifyCommand(act)
  return verifyFile(site.path, writeArgs.parse(step.args).mac, act)
}
