import { type Config, loadConfig } from '../../config/load.ts'
import { BackoutError, EXIT } from '../../core/errors.ts'
import { type Check, guarded, LEVELS, saying } from '../doctor/check.ts'
import { componentChecks } from '../doctor/components.ts'
import { homeChecks, keyChecks } from '../doctor/home.ts'
import { machineChecks } from '../doctor/machine.ts'
import { probeChecks } from '../doctor/probes.ts'
import { readyChecks } from '../doctor/ready.ts'
import { releaseChecks } from '../doctor/releases.ts'
import { runChecks } from '../doctor/runs.ts'
import { commonSecrets, settingsChecks } from '../doctor/settings.ts'
import { storageChecks } from '../doctor/storage.ts'
import { count, nextOf, show } from '../doctor/show.ts'
import { openOut } from '../out.ts'
import type { Globals } from '../program.ts'
import { catalogue, type Environment, findConfig, homeOf, openEnvironment } from '../wiring/environment.ts'
import { observeAll } from '../wiring/observe.ts'
import { Targets } from '../wiring/targets.ts'

/** Names what is missing to be able to go back. A file that does not load is shown as every command shows it. */
export async function doctor(globals: Globals): Promise<number> {
  const out = openOut({ json: globals.json })
  const file = findConfig(globals.config)
  const config = await loadConfig(file, catalogue)
  const checks = await allChecks(file, config)
  const accepted = count(checks, 'problem') === 0
  const next = nextOf(checks)
  out.data({ accepted, environment: config.environment, checks, next })
  show(out, config.environment, checks, next)
  return accepted ? EXIT.ok : EXIT.blocked
}

async function allChecks(file: string, config: Config): Promise<Check[]> {
  const home = homeOf(config)
  const before = [
    ...(await guarded('machine', () => machineChecks(config))),
    ...settingsChecks(config),
    ...(await guarded('home', () => homeChecks(config, home))),
  ]
  if (before.some(c => c.area === 'home' && c.level === 'problem')) return [...before, notAsked()]
  const opened = await open(file)
  if (Array.isArray(opened)) return [...before, ...opened, notAsked()]
  await using environment = opened
  return unique([...before, ...secretsChecks(environment.config), ...(await openedChecks(environment))])
}

/** The environment, or why it cannot be opened. */
async function open(file: string): Promise<Environment | Check[]> {
  try {
    return await openEnvironment(file)
  } catch (error) {
    if (!(error instanceof BackoutError)) throw error
    const { code, why, next = '' } = error
    const secrets = code === 'secret_missing'
    const say = saying(secrets ? 'configuration' : 'home')
    if (secrets) return (why ?? error.message).split('\n').map(line => say('problem', code, line, next))
    return [say('problem', code, why === undefined ? error.message : `${error.message}: ${why}`, next)]
  }
}

function notAsked(): Check {
  const what = 'components, releases and probes were not asked: what is above must be mended first'
  return saying('components')('note', 'not_asked', what)
}

function secretsChecks(config: Config): Check[] {
  const sources = new Set(config.secrets.map(s => s.secret.source))
  return sources.size === 0
    ? []
    : [
        saying('configuration')('ok', 'secrets', `secrets, all readable: ${[...sources].join(', ')}`),
        ...commonSecrets(config),
      ]
}

async function openedChecks(environment: Environment): Promise<Check[]> {
  await using targets = new Targets(environment)
  const { config, home, clock } = environment
  const keys = await guarded('home', () => keyChecks(config, home, clock.now()))
  const runs = await guarded('runs', () => runChecks(environment))
  const { signal } = new AbortController()
  const components = await guarded('components', async () =>
    componentChecks(environment, await observeAll(environment, targets, signal)),
  )
  const ready = await readyChecks(config, targets, components, signal)
  const releases = await guarded('releases', () => releaseChecks(environment, targets))
  const storage = await guarded('home', () => storageChecks(environment))
  const probes = await guarded('probes', () => probeChecks(environment))
  return [...keys, ...storage, ...components, ...ready, ...releases, ...probes, ...runs]
}

/** A plan finds some things again that were found before: the graver of both is told. */
function unique(checks: readonly Check[]): Check[] {
  const key = (c: Check) => `${c.code}\0${c.component}\0${c.code === 'rung_rejected' ? c.what : ''}`
  const grave = (c: Check) => LEVELS.indexOf(c.level)
  const told = checks.filter(c => c.level !== 'ok')
  return checks.filter(c => {
    const others = told.filter(o => o !== c && o.area !== c.area && key(o) === key(c))
    if (c.level === 'ok' || others.length === 0) return true
    return others.every(o => grave(c) > grave(o) || (grave(c) === grave(o) && c.area !== 'releases'))
  })
}
