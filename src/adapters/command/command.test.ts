import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { memoryBackups, memoryVault } from '../../../test/conformance/stores.ts'
import { conformance } from '../../../test/conformance/suite.ts'
import { ordered, stepAct } from '../../../test/conformance/walk.ts'
import type { Need, Proposal, Question, Step, StepAct, Target } from '../../core/contract.ts'
import type { Json } from '../../core/json.ts'
import { Secret } from '../../core/secret.ts'
import { config, type Pin } from './config.ts'
import { command } from './index.ts'

const stores = { backups: memoryBackups(), vault: memoryVault() }
const { signal } = new AbortController()
const need = (what: Need['what']): Need => ({ of: 'app', what, by: 'db' })

/** An "application": its version in a file, running where a file stands, users away where another stands. */
const basic = {
  identity: 'test-app',
  observe: 'printf \'{"state":{"version":"%s"},"summary":"version %s"}\' "$(cat version)" "$(cat version)"',
  capture: 'printf \'{"tag":"%s"}\' "$(cat version)"',
  apply: 'echo "$BACKOUT_PIN" | grep -o \'[A-Z]"\' | tr -d \'"\\n\' > version.new && mv version.new version',
  verify: 'test "{\\"version\\":\\"$(cat version)\\"}" = "$BACKOUT_STATE"',
}
const serves = {
  drained: {
    apply: 'touch away',
    verify: 'test -e away',
    undo: { apply: 'rm away', verify: 'test ! -e away', gate: 'healthy' },
  },
  stopped: {
    apply: 'rm -f running',
    verify: 'test ! -e running',
    undo: { apply: 'touch running', verify: 'test -e running' },
  },
  redeployed: { apply: 'cp version deployed', verify: 'test -e deployed && cmp -s version deployed' },
}

function open(dir: string, more: Record<string, unknown> = {}): Promise<Target<Pin>> {
  const ctx = { environment: 'test', component: 'app', baseDir: dir, stateDir: dir, ...stores }
  return command.open(config.parse({ ...basic, ...more }), ctx)
}

async function system(version = 'A'): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'backout-command-'))
  await writeFile(join(dir, 'version'), version)
  await writeFile(join(dir, 'running'), '')
  return dir
}

const variants: [string, Record<string, unknown>, Need[]][] = [
  ['with a verify command', {}, []],
  ['without one', { verify: undefined }, []],
  ['asked by others', { serves }, [need('drained'), need('stopped'), need('redeployed')]],
]
for (const [name, more, needs] of variants) {
  conformance(`command, ${name}`, {
    adapter: command,
    rungs: ['command'],
    make: async () => {
      const dir = await system()
      return {
        needs,
        secrets: ['swordfish-9'],
        open: () => open(dir, { ...more, env: { KEY: new Secret('${env:KEY}', 'swordfish-9') } }),
        openOther: () => open(dir, { ...more, identity: { run: 'echo another; echo more' } }),
        upgrade: () => writeFile(join(dir, 'version'), 'B'),
        serves: async () => {
          const text = (await readFile(join(dir, 'version'), 'utf8')).trim()
          return text === 'A' || text === 'B' ? text : 'other'
        },
        dispose: () => rm(dir, { recursive: true }),
      }
    },
  })
}

let dir: string
beforeEach(async () => {
  dir = await system('B')
})
afterEach(() => rm(dir, { recursive: true }))

const pin: Pin = { identity: 'command:test-app', summary: 'version A', state: { version: 'A' }, data: { tag: 'A' } }

async function ask(target: Target<Pin>, more: Partial<Question<Pin>> = {}): Promise<Proposal> {
  const from = await target.observe(signal)
  const rest = {
    rung: 'command',
    needs: [],
    dependents: [],
    dependencies: [],
    upgradedAt: null,
    mode: 'full' as const,
    signal,
  }
  return target.propose({ from, to: pin, release: 'v1', ...rest, ...more })
}

async function first(target: Target<Pin>): Promise<Step> {
  const [step] = ordered(await ask(target))
  if (step === undefined) throw new Error('no step')
  return step
}

/** Applies in a process of its own, which is killed once `begun` exists. Leaves the handle that was kept. */
async function killedInTheMiddle(settings: Record<string, unknown>) {
  const full = { ...basic, ...settings }
  const target = await open(dir, settings)
  const step = await first(target)
  const argv = [
    fileURLToPath(new URL('./killed.fixture.ts', import.meta.url)),
    JSON.stringify(full),
    JSON.stringify(step),
    stepAct(step).idem,
    dir,
  ]
  const child = spawn(process.execPath, argv, { stdio: 'inherit' })
  const gone = once(child, 'exit')
  await expect.poll(() => existsSync(join(dir, 'begun')), { timeout: 10_000, interval: 20 }).toBe(true)
  const handle = JSON.parse(await readFile(join(dir, 'handle'), 'utf8')) as { pgid: number }
  child.kill('SIGKILL')
  await gone
  const act = stepAct(step, 'r1', new Map<string, Json>([[step.id, handle]]))
  return { target, step, handle, verdict: () => target.verify(step, act) }
}

describe('the orchestrator is killed in the middle of a command', () => {
  const slow = 'touch begun; sleep 30; echo A > version'

  it('without a verify command it is unknown, and a person is asked', async () => {
    const { step, verdict } = await killedInTheMiddle({ apply: slow, verify: undefined })
    await expect.poll(async () => (await verdict()).is, { timeout: 6000, interval: 50 }).toBe('unknown')
    expect(await verdict()).toEqual({
      is: 'unknown',
      why: 'the command was interrupted, and there is no verify command to ask',
    })
    expect(step.onUnknown).toBe('ask')
    expect(await readFile(join(dir, 'version'), 'utf8')).toBe('B')
  })

  it('with one, the target says', async () => {
    const { target, step, verdict } = await killedInTheMiddle({
      apply: `if [ -e begun ]; then echo A > version; else ${slow}; fi`,
    })
    await expect.poll(async () => (await verdict()).is, { timeout: 6000, interval: 50 }).toBe('not-done')
    await target.apply(step, stepAct(step))
    expect(await verdict()).toMatchObject({ is: 'done' })
  })

  it('what will not die is followed, never started again', async () => {
    const { handle, verdict } = await killedInTheMiddle({
      apply: 'trap "" TERM; touch begun; sleep 1; echo A > version; sleep 0.3',
    })
    expect(await verdict()).toEqual({
      is: 'running',
      why: `process group ${handle.pgid} of an earlier attempt is still alive`,
    })
    await expect.poll(async () => (await verdict()).is, { timeout: 6000, interval: 50 }).toBe('done')
  })
})

describe('what a command says is not believed', () => {
  it('exit 0 without an effect is not-done', async () => {
    const target = await open(dir, { apply: 'true' })
    const step = await first(target)
    const handles = new Map<string, Json>()
    await target.apply(step, stepAct(step, 'r1', handles))
    expect(await target.verify(step, stepAct(step, 'r1', handles))).toMatchObject({ is: 'not-done' })
  })

  it('exit 0 without an effect is unknown where only `observe` can be asked', async () => {
    const target = await open(dir, { apply: 'true', verify: undefined })
    const step = await first(target)
    const handles = new Map<string, Json>()
    await target.apply(step, stepAct(step, 'r1', handles))
    const asked = { is: 'unknown', why: expect.stringContaining('`observe` says version B, which is not it') }
    expect(await target.verify(step, stepAct(step, 'r1', handles))).toMatchObject(asked)
    await writeFile(join(dir, 'version'), 'A')
    expect(await target.verify(step, stepAct(step, 'r1', handles))).toMatchObject({ is: 'done' })
  })

  it('exit 1 with the effect is done', async () => {
    const target = await open(dir, { apply: 'echo A > version; echo "no reply" >&2; exit 1' })
    const step = await first(target)
    await expect(target.apply(step, stepAct(step))).rejects.toMatchObject({ code: 'command_failed', why: 'no reply' })
    expect(await target.verify(step, stepAct(step))).toMatchObject({ is: 'done' })
  })

  it('a failure without a verify command is unknown; only a command that may be repeated is', async () => {
    const target = await open(dir, { apply: 'exit 3', verify: undefined, repeatable: true })
    const step = await first(target)
    const handles = new Map<string, Json>()
    expect(await target.verify(step, stepAct(step, 'r1', handles))).toMatchObject({ is: 'not-done' })
    await expect(target.apply(step, stepAct(step, 'r1', handles))).rejects.toMatchObject({ code: 'command_failed' })
    expect(await target.verify(step, stepAct(step, 'r1', handles))).toMatchObject({ is: 'unknown' })
    expect(step.onUnknown).toBe('repeat')
  })

  it('what ended well in an earlier pass is there only where `observe` says so, without a verify command', async () => {
    const target = await open(dir, { verify: undefined })
    const step = await first(target)
    const handles = new Map<string, Json>()
    await target.apply(step, stepAct(step, 'r1', handles))
    const earlier = () => ({ ...stepAct(step, 'r1', handles), earlier: true })
    expect(await target.verify(step, earlier())).toMatchObject({ is: 'done' })
    await writeFile(join(dir, 'version'), 'B')
    expect(await target.verify(step, earlier())).toMatchObject({ is: 'unknown' })
  })

  it('a daemon that it leaves behind does not count as still running', async () => {
    const target = await open(dir, { apply: 'sleep 2 >/dev/null 2>&1 & echo A > version' })
    const step = await first(target)
    const handles = new Map<string, Json>()
    await target.apply(step, stepAct(step, 'r1', handles))
    expect(await target.verify(step, stepAct(step, 'r1', handles))).toMatchObject({ is: 'done' })
  })

  it('one that runs too long is ended, with all that it started', async () => {
    const target = await open(dir, { apply: '(sleep 2; touch late) & sleep 30', limit: '200ms' })
    const step = await first(target)
    const handles = new Map<string, Json>()
    await expect(target.apply(step, stepAct(step, 'r1', handles))).rejects.toMatchObject({ code: 'command_timed_out' })
    const verdict = async () => (await target.verify(step, stepAct(step, 'r1', handles))).is
    await expect.poll(verdict, { timeout: 1500, interval: 20 }).toBe('not-done')
    expect(existsSync(join(dir, 'late'))).toBe(false)
  })
})

describe('the verify command', () => {
  it('says its verdict by its exit code, as declared', async () => {
    const verdict = async (verify: string, more: Record<string, unknown> = {}) => {
      const target = await open(dir, { verify, ...more })
      const step = await first(target)
      return (await target.verify(step, stepAct(step))).is
    }
    const codes = await Promise.all([0, 1, 2, 3, 127].map(code => verdict(`exit ${code}`)))
    expect(codes).toEqual(['done', 'not-done', 'running', 'unknown', 'unknown'])
    expect(await verdict('exit 42', { verdicts: { done: [42], notDone: [0] } })).toBe('done')
    expect(await verdict('sleep 30', { readLimit: '3s' })).toBe('unknown')
    expect(await verdict('exit 0', { cwd: 'gone' }).catch((error: unknown) => error)).toMatchObject({
      code: 'command_not_started',
    })
  })

  it('is told the same as apply', async () => {
    const print =
      'printf "%s|" "$BACKOUT_PIN" "$BACKOUT_STATE" "$BACKOUT_RELEASE" "$BACKOUT_STEP" "$BACKOUT_IDEM" "$BACKOUT_ATTEMPT" "$BACKOUT_COMPONENT" "$BACKOUT_ENVIRONMENT"'
    const target = await open(dir, { apply: `${print} > told`, verify: `test "$(${print})" = "$(cat told)"` })
    const step = await first(target)
    await target.apply(step, { ...stepAct(step), attempt: 3 })
    expect(await readFile(join(dir, 'told'), 'utf8')).toBe(
      '{"tag":"A"}|{"version":"A"}|v1|app/apply|r1.app.apply|3|app|test|',
    )
    expect(await target.verify(step, { ...stepAct(step), attempt: 3 })).toMatchObject({ is: 'done' })
  })
})

describe('what others ask', () => {
  const asked = [need('drained'), need('stopped'), need('redeployed'), need('exec-from')]

  it('is served around the way back, with the gate and the way to safety', async () => {
    const proposal = await ask(await open(dir, { serves }), { needs: asked })
    expect(proposal.serves.map(n => n.what)).toEqual(['drained', 'stopped', 'redeployed'])
    expect(proposal.phases).toEqual({
      drain: { seq: [{ step: 'app/drained' }] },
      stop: { seq: [{ step: 'app/stopped' }] },
      code: { seq: [{ step: 'app/apply' }, { step: 'app/redeployed' }, { step: 'app/stopped/undo' }] },
      return: {
        seq: [
          { step: 'app/drained/undo' },
          { gate: 'healthy', forMs: 0, onFail: { apply: ['app/drained/away'], then: 'ask' } },
        ],
      },
    })
    expect(proposal.safe).toEqual(['app/drained/away'])
  })

  it('is served where nothing else changes, and without costs of its own', async () => {
    await writeFile(join(dir, 'version'), 'A')
    const target = await open(dir, { serves, needs: [{ of: 'lb', what: 'drained' }], impact: { downtime: '1m' } })
    const proposal = await ask(target, { needs: [need('stopped')] })
    expect(ordered(proposal).map(s => s.id)).toEqual(['app/stopped', 'app/stopped/undo'])
    expect(proposal).toMatchObject({ change: null, needs: [], impact: { downtimeMs: 0 } })
    expect((await ask(target)).steps).toEqual([])
  })

  it('warns where nothing ends it', async () => {
    const once = { stopped: { apply: 'true' } }
    const { findings } = await ask(await open(dir, { serves: once, verify: undefined }), { needs: [need('stopped')] })
    expect(findings.map(f => f.code)).toEqual(['no_verify', 'no_verify', 'stays_stopped'])
  })

  it('warns of each that nobody can be asked about', async () => {
    const drained = { ...serves.drained, verify: undefined, undo: { apply: 'rm away' } }
    const { findings } = await ask(await open(dir, { serves: { ...serves, drained } }), { needs: asked })
    expect(findings.map(f => `${f.level} ${f.code}: ${f.remedy.split(';')[0]}`)).toEqual([
      'warning no_verify: set `serves.drained.verify`',
      'warning no_verify: set `serves.drained.undo.verify`',
    ])
  })
})

describe('what it costs', () => {
  it('is declared, and asked again before data is lost', async () => {
    const impact = { downtime: '2m', loss: [{ what: 'orders.note', count: 7, unit: 'values' }] }
    const target = await open(dir, { impact, destructive: true, needs: [{ of: 'lb', what: 'drained' }] })
    const proposal = await ask(target)
    expect(proposal.needs).toEqual([{ of: 'lb', what: 'drained' }])
    expect(proposal.impact).toMatchObject({ downtimeMs: 120_000, loss: [{ what: 'orders.note', count: 7 }] })
    const [step] = proposal.steps
    if (step === undefined) throw new Error('no step')
    expect(step).toMatchObject({ destructive: true, recheck: true })
    const act: StepAct = { ...stepAct(step), accepts: () => false }
    await expect(target.apply(step, act)).rejects.toMatchObject({ code: 'loss_not_accepted', exit: 'waiting' })
    expect(await readFile(join(dir, 'version'), 'utf8')).toBe('B')
  })
})

describe('commands that do not print what is agreed', () => {
  it.each([
    ['no JSON', { observe: 'echo hello' }, 'command_output'],
    ['nothing', { observe: 'true' }, 'command_output'],
    ['no state', { observe: 'echo \'{"summary":"x"}\'' }, 'command_output'],
    ['a typing error', { observe: 'echo \'{"state":1,"inflight":[]}\'' }, 'command_output'],
    ['more than is read', { observe: 'head -c 3000000 /dev/zero | tr "\\0" 1' }, 'command_output'],
    ['a failure', { observe: 'echo broken >&2; exit 1' }, 'command_failed'],
    ['no identity', { identity: { run: 'true' } }, 'command_output'],
  ])('%s', async (_, settings, code) => {
    await expect((await open(dir, settings)).observe(signal)).rejects.toMatchObject({ code })
  })

  it('more than a pin takes', async () => {
    const target = await open(dir, { capture: 'printf \'"%070000d"\' 1' })
    const act = { ...stepAct(), purpose: 'release' as const, release: 'v1' }
    await expect(target.capture(await target.observe(signal), act)).rejects.toMatchObject({ code: 'pin_too_big' })
  })

  it('secrets: they are hidden in what is kept and said', async () => {
    const env = { KEY: new Secret('${env:KEY}', 'op3n-sesame') }
    const target = await open(dir, {
      env,
      observe: 'printf \'{"state":"%s","inFlight":["deploy by ci"]}\' "$KEY"',
      capture: 'printf \'{"key":"%s"}\' "$KEY"',
      apply: 'echo "bad key $KEY" >&2; exit 1',
    })
    const from = await target.observe(signal)
    const captured = await target.capture(from, { ...stepAct(), purpose: 'release', release: 'v1' })
    const step = await first(target)
    const error = (await target.apply(step, stepAct(step)).catch((error: unknown) => error)) as { why: string }
    expect(from).toMatchObject({ state: '[secret]', inFlight: [{ what: 'deploy by ci', since: null }] })
    expect(captured.data).toEqual({ key: '[secret]' })
    const rest = {
      rung: 'command',
      upgradedAt: null,
      needs: [],
      dependents: [],
      dependencies: [],
      mode: 'full' as const,
      signal,
    }
    const question = { ...rest, from: { ...from, state: 'other' }, to: captured, release: 'v1' }
    const { findings } = await target.propose(question)
    expect(findings).toMatchObject([
      { level: 'warning', code: 'pin_hides_secret' },
      { level: 'note', code: 'same_summary' },
    ])
    expect(error.why).toBe('bad key [secret]')
  })
})

it('has a page whose example is valid', async () => {
  const page = await readFile(join(import.meta.dirname, '../../../docs/adapters/command.md'), 'utf8')
  const example = parse(/```yaml\n([\s\S]*?)```/.exec(page)?.[1] ?? '') as {
    components: { search: { adapter: string; settings: unknown } }
  }
  expect(example.components.search.adapter).toBe(command.kind)
  expect(config.safeParse(example.components.search.settings).error).toBeUndefined()
})

describe('what only serves others', () => {
  const door = (state: string) => ({ apply: `echo ${state} > door`, verify: `grep -qx ${state} door` })
  const stages = [{ ...door('inside'), phase: 'verify', gate: 'smoke' }, door('open')]
  const settings = { identity: 'door', serves: { drained: { ...door('closed'), undo: stages } } }
  const opened = (more: object) =>
    command.open(config.parse({ ...settings, ...more }), {
      environment: 'test',
      component: 'app',
      baseDir: dir,
      stateDir: dir,
      ...stores,
    })

  it('C13: is asked, and ends it in stages with the gate between', async () => {
    const target = await opened({})
    const from = await target.observe(signal)
    const to = { identity: from.identity, summary: from.summary, state: from.state, data: null }
    const proposal = await ask(target, { to, needs: [need('drained')] })
    expect(proposal.change).toBeNull()
    expect(proposal.phases).toEqual({
      drain: { seq: [{ step: 'app/drained' }] },
      verify: {
        seq: [
          { step: 'app/drained/undo/1' },
          { gate: 'smoke', forMs: 0, onFail: { apply: ['app/drained/away'], then: 'ask' } },
        ],
      },
      return: { seq: [{ step: 'app/drained/undo/2' }] },
    })
    for (const [id, state] of [
      ['app/drained', 'closed'],
      ['app/drained/undo/1', 'inside'],
      ['app/drained/undo/2', 'open'],
    ]) {
      const step = proposal.steps.find(s => s.id === id)
      if (step === undefined) throw new Error(`no step ${id}`)
      await target.apply(step, stepAct(step))
      expect(await readFile(join(dir, 'door'), 'utf8')).toBe(`${state}\n`)
      expect(await target.verify(step, stepAct(step))).toMatchObject({ is: 'done' })
    }
  })

  it('blocks a release that was captured when it could be taken back, and serves something at least', async () => {
    const target = await opened({})
    const { identity } = await target.observe(signal)
    const { findings } = await ask(target, { to: { ...pin, identity } })
    expect(findings).toMatchObject([{ level: 'blocker', code: 'no_apply' }])
    expect(config.safeParse({ identity: 'door' }).success).toBe(false)
    expect(config.safeParse({ ...settings, apply: 'true' }).success).toBe(false)
  })
})
