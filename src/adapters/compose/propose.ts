import { parse } from 'yaml'
import { z } from 'zod'
import { type Finding, NO_IMPACT, NOTHING, type Proposal, type Question, type Step } from '../../core/contract.ts'
import { messageOf } from '../../core/errors.ts'
import { keysOf, textOf } from '../../exec/dotenv.ts'
import { keepsToday } from '../../exec/secret-names.ts'
import { type Say, sayBeside } from './beside.ts'
import { execUnclear, nameOne } from './exec.ts'
import { goalOf } from './files.ts'
import { haltStep } from './halt.ts'
import { composeFiles, docker, type Host, run } from './host.ts'
import { sayImages } from './images.ts'
import { definedBy, jobsOf } from './jobs.ts'
import { look, type View } from './look.ts'
import { runs } from './observe.ts'
import { saysOutdated } from './outdated.ts'
import type { ComposePin, PinnedFile } from './pin.ts'
import { standingOf } from './standing.ts'
import { stopStep, TYPICAL, type UpArgs, upStep, writeStep } from './steps.ts'
import { containersUnwell, unwellIn } from './unwell.ts'
import { ended } from './verify.ts'

const SERVED: ReadonlySet<string> = new Set(['stopped', 'redeployed', 'exec-from'])

/** A captured file, and what it will hold. */
interface FileWay {
  readonly pinned: PinnedFile
  readonly today: Buffer | null
  readonly goal: Buffer
}

export async function propose(host: Host, question: Question<ComposePin>): Promise<Proposal> {
  const { component } = host
  const { from, to, needs, signal, release, rung } = question
  const findings: Finding[] = []
  const say: Say = (level, code, what, remedy) => void findings.push({ level, code, component, what, remedy })
  if (from.identity !== to.identity) {
    const remedy = 'set `host`, `directory` and `project` as they were captured, or use a release of this project'
    say('blocker', 'other_identity', `The pin belongs to ${to.identity}, and this is ${from.identity}`, remedy)
    return { ...NOTHING, findings }
  }
  const serves = needs.filter(need => need.of === component && SERVED.has(need.what))
  const asked = (what: string) => serves.some(n => n.what === what)
  const view = await look(host, signal)
  const files = await filesOf(host, to, view, release, say)
  if (asked('exec-from')) sayUnclear(host, view, say)
  await sayImages(host, question, say)
  await sayOutside(host, files, signal, say)
  // A job is none of what runs, by what the files say today or said then.
  const then = files.map(f => ({ path: f.pinned.path, content: f.goal }))
  const jobs = jobsOf(host, [...view.files, ...then])
  const others = othersOf(to, view, jobs, definedBy(host, then))
  const args = upArgs(host, question, files, { orphans: others.added, redeploy: asked('redeployed') })
  sayAdded(args, view, files, release, say)
  sayLeft(others.left, view, asked('stopped'), release, say)
  sayBeside(host, { view, args, jobs, stops: asked('stopped') }, say)
  if (!to.hashes) {
    const what = `With ${release} the files did not say all that the containers were made from (variables of a shell): they are made anew from what the files say`
    say('warning', 'files_incomplete', what, 'write such variables to .env, bring the project up, and capture again')
  }
  if (findings.some(f => f.level === 'blocker')) return { ...NOTHING, findings, serves }
  const writes = files.filter(differs).map(way => writeOf(host, way))
  // Compose can say nothing of files that are not there, or do not hold.
  const standing = writes.length > 0 ? 'wrong' : await standingOf(host, args, view, signal)
  const change = standing !== 'right'
  const stops = asked('stopped') ? [...new Set(view.containers.filter(c => !ended(c)).map(c => c.service))].sort() : []
  const stop = stops.length === 0 ? [] : [stopStep(host, { do: 'stop', services: stops })]
  const halting = haltStep(host, view)
  if (halting !== null) sayHalted(halting.settles, say)
  const halt = halting === null ? [] : [halting.step]
  // What is ended in the middle leaves nobody knows what: it is brought up whatever was seen while it worked.
  const acts = change || asked('stopped') || asked('redeployed') || halting !== null
  if (acts && (await saysOutdated(host, signal, say))) return { ...NOTHING, findings, serves }
  const bring = upStep(host, release, args)
  const up = acts ? [bring] : []
  const unwell = acts && standing !== 'more' ? [] : unwellIn(host, args, view, bring.id)
  findings.push(...unwell.map(one => containersUnwell(host, question, one)))
  if (up.length + stop.length === 0) return { ...NOTHING, findings, serves, unwell }
  const fewer = stop.length + halt.length === 0 && !asked('redeployed') && standing === 'more'
  const down = rung === 'recreate' || asked('stopped') ? TYPICAL.stop + TYPICAL.up : 5_000
  return {
    ...NOTHING,
    change: change
      ? { from: from.summary, to: to.services.map(s => `${s.name} ${s.ref}`).join(', '), ...(fewer ? { fewer } : {}) }
      : null,
    findings,
    impact: { ...NO_IMPACT, downtimeMs: down, disappears: disappears(args, files) },
    needs: asked('stopped') || rung === 'recreate' ? drained(question) : [],
    serves,
    settles: halting?.settles ?? [],
    unwell,
    steps: [...halt, ...stop, ...writes, ...up],
    phases: phasesOf({ halt, stop, writes, up }),
  }
}

function sayUnclear(host: Host, view: View, say: Say): void {
  const services = execUnclear(host, view)
  if (services.length < 2) return
  const what = `Down-scripts are to run in an image of ${host.place}, and its services have different ones: nobody says which`
  say('blocker', 'exec_unclear', what, nameOne(services))
}

function sayHalted(flights: readonly string[], say: Say): void {
  const what = `Somebody else's Compose at work is ended first: ${flights.join(', ')}. What it has half done is put in order by what brings the project up`
  say('warning', 'compose_ended', what, 'see who began it: a deployment that tries again comes in between')
}

interface Groups {
  readonly halt: readonly Step[]
  readonly stop: readonly Step[]
  readonly writes: readonly Step[]
  readonly up: readonly Step[]
}

function phasesOf({ halt, stop, writes, up }: Groups): Proposal['phases'] {
  const node = (steps: readonly Step[]) => ({ seq: steps.map(s => ({ step: s.id })) })
  return {
    ...(halt.length === 0 ? {} : { preflight: node(halt) }),
    ...(stop.length === 0 ? {} : { stop: node(stop) }),
    ...(writes.length === 0 ? {} : { config: node(writes) }),
    ...(up.length === 0 ? {} : { code: node(up) }),
  }
}

function drained({ dependents }: Question<ComposePin>): Proposal['needs'] {
  return dependents.filter(d => d.serves.includes('drained')).map(d => ({ of: d.id, what: 'drained' as const }))
}

async function filesOf(host: Host, to: ComposePin, view: View, release: string, say: Say): Promise<FileWay[]> {
  const ways: FileWay[] = []
  for (const pinned of to.files) {
    const today = view.files.find(f => f.path === pinned.path)?.content ?? null
    try {
      const goal = await goalOf(host, host.vault, pinned, today)
      ways.push({ pinned, today, goal })
      sayKept(host, pinned, today, goal, say)
    } catch (error) {
      const what = `${pinned.path} of ${release} cannot be read from the vault: ${messageOf(error)}`
      say('blocker', 'content_gone', what, 'bring the vault back from its copy, or choose another release')
    }
  }
  return ways
}

function sayKept(
  { config }: Host,
  { path, variables }: PinnedFile,
  today: Buffer | null,
  goal: Buffer,
  say: Say,
): void {
  if (!variables) return
  const now = new Set(today === null ? [] : keysOf(textOf(today)))
  const secrets = keysOf(textOf(goal)).filter(key => keepsToday(config, key))
  const [kept, lost] = [secrets.filter(key => now.has(key)), secrets.filter(key => !now.has(key))]
  if (kept.length > 0) {
    say(
      'note',
      'secrets_current',
      `${path}: these keep today's value: ${kept.join(', ')}`,
      'name in `pinned` what must go back too',
    )
  }
  if (lost.length === 0) return
  const what = `${path}: these have no value today, and get that of the release: ${lost.join(', ')}`
  say('warning', 'secrets_of_the_release', what, 'see that they are still valid')
}

function differs({ today, goal }: FileWay): boolean {
  return today === null || !today.equals(goal)
}

function writeOf(host: Host, { pinned, today, goal }: FileWay): Step {
  const { path, variables, sealed, mode, owner } = pinned
  const expect = today === null ? null : host.vault.mac(today)
  return writeStep(host, { do: 'write', path, variables, sealed, mac: host.vault.mac(goal), expect, mode, owner })
}

/**
 * Services that run and did not at the capture. Those that the release's own files do not have are added; the others were at rest at
 * that moment, and nobody can say that they are to go. Where nothing ran at all, nothing is to run.
 */
function othersOf(to: ComposePin, view: View, jobs: ReadonlySet<string>, defined: (service: string) => boolean) {
  const alive = view.containers.filter(c => !ended(c) && !jobs.has(c.service)).map(c => c.service)
  const others = [...new Set(alive)].filter(name => !to.services.some(s => s.name === name)).sort()
  const rests = (name: string) => to.services.length > 0 && defined(name)
  return { added: others.filter(name => !rests(name)), left: others.filter(rests) }
}

function sayLeft(left: readonly string[], view: View, stops: boolean, release: string, say: Say): void {
  for (const name of left) {
    const ref = view.containers.find(c => c.service === name && !ended(c))?.ref
    const what = `${name} did not run when ${release} was captured, though the files of ${release} have it: it ${stops ? 'is stopped with the others, and not brought up again' : 'goes on as it is'} (${ref})`
    say(
      'warning',
      'service_not_captured',
      what,
      `afterwards \`docker compose up -d ${name}\`, or \`stop\`: as it is to be`,
    )
  }
}

function upArgs(
  host: Host,
  { to, rung }: Question<ComposePin>,
  files: readonly FileWay[],
  { orphans, redeploy }: { orphans: readonly string[]; redeploy: boolean },
): UpArgs {
  return {
    do: rung === 'recreate' ? 'recreate' : 'up',
    files: composeFiles(
      host,
      to.files.map(f => f.path),
    ),
    macs: Object.fromEntries(files.map(({ pinned, goal }) => [pinned.path, host.vault.mac(goal)])),
    services: to.services.filter(s => !host.config.except.includes(s.name)),
    hashes: to.hashes,
    force: rung === 'recreate' || redeploy || !to.hashes,
    orphans: host.config.orphans === 'remove' ? [...orphans] : [],
  }
}

const outside = z.record(
  z.string(),
  z.object({ external: z.unknown().optional(), name: z.string().optional() }).nullable(),
)
const document = z.object({ networks: outside.nullish(), volumes: outside.nullish() })

/** Networks and volumes that the captured files take for granted. */
async function sayOutside(host: Host, files: readonly FileWay[], signal: AbortSignal, say: Say): Promise<void> {
  for (const { pinned, goal } of files.filter(f => !f.pinned.variables)) {
    const doc = document.safeParse(parse(goal.toString('utf8')))
    for (const kind of ['network', 'volume'] as const) {
      for (const [key, about] of Object.entries(doc.data?.[`${kind}s`] ?? {})) {
        const external = about?.external
        if (external === undefined || external === false) continue
        const name = (external as { name?: string }).name ?? about?.name ?? key
        if (name.includes('$')) continue
        const { code } = await run(host, { argv: [...docker(host), kind, 'inspect', name] }, signal)
        if (code === 0) continue
        const what = `${pinned.path} takes the ${kind} ${name} for granted, which is not on ${host.config.host}`
        say('blocker', `${kind}_gone`, what, `make it again: \`docker ${kind} create ${name}\``)
      }
    }
  }
}

function sayAdded(args: UpArgs, view: View, files: readonly FileWay[], release: string, say: Say): void {
  const running = new Set(view.containers.filter(runs).map(c => c.service))
  for (const name of args.orphans.filter(o => running.has(o))) {
    const remedy = 'set `orphans: leave` to keep it; its volumes stay'
    say('warning', 'service_added', `${release} did not have the service ${name}: its containers are removed`, remedy)
  }
  for (const { path } of view.files.filter(f => !files.some(way => way.pinned.path === f.path))) {
    const what = `${path} was not there with ${release}. It is not read now; whoever calls Compose by hand reads it`
    say('warning', 'file_added', what, 'take it away')
  }
}

function disappears(args: UpArgs, files: readonly FileWay[]): string[] {
  const gone = files.flatMap(({ pinned, today, goal }) => {
    if (!pinned.variables || today === null) return []
    const then = new Set(keysOf(textOf(goal)))
    return keysOf(textOf(today)).filter(key => !then.has(key))
  })
  return [...gone.map(key => `variable ${key}`), ...args.orphans.map(name => `service ${name}`)]
}
