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
  Remembered,
  Step,
  StepAct,
  Target,
  Verdict,
} from '../../core/contract.ts'
import { NOTHING } from '../../core/contract.ts'
import { BackoutError, messageOf } from '../../core/errors.ts'
import { toJson } from '../../core/json.ts'
import { commandStep, verifyCommand } from '../../exec/command-step.ts'
import { applyReload, noteDue } from '../../exec/reload-due.ts'
import { type GitConfigConfig, type GitConfigPin, gitConfigConfig, gitConfigPin, tree } from './config.ts'
import { commitOf, git, refresh, repositoryOf, rootOf, type Site, treeOf } from './git.ts'
import { differing, type Found, findLive, liveTree, reloadDue, treeHash } from './live.ts'
import { type Change, place, staged } from './place.ts'

/** Configuration files that are kept in a Git repository. */
export const gitConfig: Adapter<GitConfigConfig, GitConfigPin> = {
  kind: 'git-config',
  config: gitConfigConfig,
  pin: gitConfigPin,
  pinVersion: 1,
  open: async (config: GitConfigConfig, ctx: OpenContext) => targetOf({ config, ctx }),
}

const placeArgs = z.object({ commit: z.string(), files: tree, remove: z.array(z.string()), seen: tree })

function targetOf(site: Site): Target<GitConfigPin> {
  return {
    rungs: [{ id: 'place', tier: 'release', title: 'put the files of the commit in place' }],
    serves: [],
    observe: signal => observe(site, signal),
    capture: (_, act) => capture(site, act),
    propose: question => propose(site, question),
    apply: (step, act) => apply(site, step, act),
    verify: (step, act) => verify(site, step, act),
    remembered: signal => remembered(site, signal),
    [Symbol.asyncDispose]: async () => {},
  }
}

/** Of one repository, put in one place. */
async function identityOf(site: Site, signal: AbortSignal): Promise<string> {
  const { to, paths } = site.config
  const places = to === undefined ? Object.values(paths ?? {}) : [to]
  const where = places.map(p => resolve(site.ctx.baseDir, p)).sort()
  return `git:${await rootOf(site, signal)}:${where.join(',')}`
}

async function lookup(site: Site, signal: AbortSignal): Promise<Found> {
  const found = await findLive(site, signal)
  if (found !== null) return found
  throw new BackoutError({
    code: 'ref_unknown',
    what: `The repository ${repositoryOf(site)} has no commit ${site.config.ref}`,
    next: 'set `ref:` to a branch, tag or commit that it has',
    exit: 'usage',
  })
}

async function observe(site: Site, signal: AbortSignal): Promise<Observation> {
  const stale = await refresh(site, signal)
  const { live, commit, drift } = await lookup(site, signal)
  const name = await nameOf(site, commit, signal)
  const due = await reloadDue(site, signal)
  const summary = drift.length === 0 ? name : `${drift.length} files differ from ${name}`
  return {
    identity: await identityOf(site, signal),
    state: { live: treeHash(live), ...(due ? { reloadDue: true } : {}) },
    detail: { commit, drift: [...drift], stale },
    summary: due ? `${summary}, not reloaded` : summary,
    inFlight: [],
  }
}

async function nameOf(site: Site, commit: string, signal: AbortSignal): Promise<string> {
  const argv = ['describe', '--tags', '--exact-match', commit]
  const tag = await git(site, argv, signal, { fine: [0, 128] })
  const short = commit.slice(0, 10)
  return tag.code === 0 ? `${tag.stdout.trim()} (${short})` : short
}

async function capture(site: Site, act: CaptureAct): Promise<GitConfigPin> {
  const { live, commit, tree, drift } = await lookup(site, act.signal)
  const identity = await identityOf(site, act.signal)
  return { identity, commit, tree: treeHash(tree), live: treeHash(live), drift: [...drift] }
}

async function propose(site: Site, question: Question<GitConfigPin>): Promise<Proposal> {
  const { to, release, signal } = question
  const findings: Finding[] = []
  const say = (level: Finding['level'], code: string, what: string, remedy: string) =>
    void findings.push({ level, code, component: site.ctx.component, what, remedy })
  const identity = await identityOf(site, signal)
  if (identity !== to.identity) {
    const what = `The release ${release} holds ${to.identity}, this is ${identity}`
    say('blocker', 'other_identity', what, 'see that `repository:` and `to:` are those that were captured')
    return { ...NOTHING, findings }
  }
  if ((await commitOf(site, to.commit, signal)) === null) {
    const what = `The repository does not have the commit ${to.commit} of ${release} any more`
    say('blocker', 'commit_gone', what, `fetch it: \`git fetch origin ${to.commit}\`, from a clone that has it`)
    return { ...NOTHING, findings }
  }
  const found = await lookup(site, signal)
  const change = await changeTo(site, to.commit, found, signal)
  if (differing(change.seen, change.files).length === 0) return reloadOnly(site, question)
  driftFindings(site, to, release, found, change, say)
  const problem = await problemWith(site, change, signal)
  if (problem !== null) say('blocker', problem.code, messageOf(problem), problem.next ?? '')
  const steps = stepsFor(site, change, await nameOf(site, to.commit, signal))
  return {
    ...NOTHING,
    change: { from: question.from.summary, to: await nameOf(site, to.commit, signal) },
    findings,
    steps,
    phases: { config: { seq: steps.map(s => ({ step: s.id })) } },
  }
}

async function reloadOnly(site: Site, { from, to, signal }: Question<GitConfigPin>): Promise<Proposal> {
  if (!(await reloadDue(site, signal))) return NOTHING
  const step = reloadStep(site)
  const change = { from: from.summary, to: `${await nameOf(site, to.commit, signal)}, reloaded` }
  return { ...NOTHING, change, steps: [step], phases: { config: { step: step.id } } }
}

/** Removes only what the commit that is live knows of: other files in the folder are somebody else's. */
async function changeTo(site: Site, commit: string, found: Found, signal: AbortSignal): Promise<Change> {
  const files = await treeOf(site, commit, signal)
  const remove = Object.keys(found.tree).filter(path => files[path] === undefined)
  const seen = await liveTree(site, [...Object.keys(files), ...remove], commit)
  return { commit, files, remove: remove.sort(), seen }
}

type Say = (level: Finding['level'], code: string, what: string, remedy: string) => void

function driftFindings(site: Site, to: GitConfigPin, release: string, found: Found, change: Change, say: Say): void {
  const touched = found.drift.filter(path => change.files[path] !== undefined || change.remove.includes(path))
  if (touched.length > 0) {
    const what = `Live files are of no commit; next to ${found.commit.slice(0, 10)} they differ in ${touched.join(', ')}`
    const level = site.config.drift === 'block' ? 'blocker' : 'warning'
    say(level, 'drift', what, 'commit what is worth keeping; what stood there is kept by the step')
  }
  if (to.drift.length > 0) {
    const what = `When ${release} was captured, these were not as in its commit: ${to.drift.join(', ')}`
    say('warning', 'captured_with_drift', what, 'going back puts the files of the commit there; mend these by hand')
  }
}

/** Tried ahead in a folder of its own. */
async function problemWith(site: Site, change: Change, signal: AbortSignal): Promise<BackoutError | null> {
  try {
    await staged(site, change, signal, async () => {})
    return null
  } catch (error) {
    if (error instanceof BackoutError && !signal.aborted) return error
    throw error
  }
}

function stepsFor(site: Site, change: Change, name: string): Step[] {
  const { component } = site.ctx
  const step: Step = {
    id: `${component}/place`,
    component,
    title: `put the files of ${name} in place`,
    args: toJson(change),
    limitMs: 120_000 + site.config.checkLimit,
    retries: 2,
    estimateMs: 1_000,
    onUnknown: 'ask',
  }
  return site.config.reload === undefined ? [step] : [step, reloadStep(site)]
}

function reloadStep({ config, ctx: { component } }: Site): Step {
  const title = `reload ${component}`
  return commandStep({ id: `${component}/reload`, component, title, limitMs: config.reloadLimit })
}

async function apply(site: Site, step: Step, act: StepAct): Promise<void> {
  if (step.id.endsWith('/reload')) return applyReload(step, site.config.reload ?? [], site.ctx, act)
  act.signal.throwIfAborted()
  act.guard()
  const change = placeArgs.parse(step.args)
  if (site.config.reload !== undefined) await noteDue(site.ctx, change.commit, act)
  const kept = await place(site, change, act)
  await act.tell({ kind: 'kept', text: `The files as they were are kept in ${kept}`, data: { folder: kept } })
}

async function verify(site: Site, step: Step, act: StepAct): Promise<Verdict> {
  if (step.id.endsWith('/reload')) return verifyCommand(act)
  try {
    const change = placeArgs.parse(step.args)
    const live = await liveTree(site, [...Object.keys(change.files), ...change.remove], change.commit)
    const wrong = differing(live, change.files)
    if (wrong.length === 0) return { is: 'done', why: `all files are those of ${change.commit.slice(0, 10)}` }
    return { is: 'not-done', why: `not as in ${change.commit.slice(0, 10)}: ${wrong.slice(0, 5).join(', ')}` }
  } catch (error) {
    return { is: 'unknown', why: messageOf(error) }
  }
}

/** Tags, newest first: releases from before anything was captured. */
async function remembered(site: Site, signal: AbortSignal): Promise<Remembered<GitConfigPin>[]> {
  await refresh(site, signal)
  const format = '--format=%(refname:short)%09%(creatordate:iso-strict)'
  const { stdout } = await git(site, ['for-each-ref', '--sort=-creatordate', '--count=50', format, 'refs/tags'], signal)
  const identity = await identityOf(site, signal)
  const out: Remembered<GitConfigPin>[] = []
  for (const line of stdout.split('\n').filter(Boolean)) {
    const [release = '', at = ''] = line.split('\t')
    const commit = await commitOf(site, `refs/tags/${release}`, signal)
    if (commit === null) continue
    const hash = treeHash(await treeOf(site, commit, signal))
    out.push({
      release,
      at: at === '' ? null : new Date(at).toISOString(),
      pin: { identity, commit, tree: hash, live: hash, drift: [] },
    })
  }
  return out
}
