import type { Observation } from '../../core/contract.ts'
import { BOOKKEEPING } from '../../data/bookkeeping.ts'
import type { Environment } from '../wiring/environment.ts'
import type { Observed } from '../wiring/observe.ts'
import { type Check, saying } from './check.ts'

const say = saying('components')

/** What each component said of itself. */
export function componentChecks(environment: Environment, { observations, findings }: Observed): Check[] {
  const silent = findings.map(f => say('problem', f.code, f.what, f.remedy, f.component))
  const order = Object.keys(environment.config.components)
  const asked = [...observations]
    .filter(([id]) => !findings.some(f => f.component === id))
    .toSorted(([a], [b]) => order.indexOf(a) - order.indexOf(b))
  return [
    ...silent,
    ...asked.flatMap(([id, observed]) => {
      const component = environment.config.components[id]
      if (component === undefined) return []
      const { kind } = component.adapter
      const lacks = lacking(kind, id, component.settings as Settings, observed)
      const moving = observed.inFlight.map(op => {
        const since = op.since === null ? '' : `, since ${op.since}`
        return say('warning', 'in_flight', `${id}: ${op.what} is under way${since}`, 'wait until it has ended', id)
      })
      const well = say('ok', 'observed', `${id}: ${observed.summary} (${kind}, ${observed.identity})`, '', id)
      return lacks.some(c => c.level === 'problem') ? lacks : [well, ...lacks, ...moving]
    }),
  ]
}

type Settings = Readonly<Record<string, unknown>>
type State = Readonly<Record<string, unknown>>

/** What an observation tells that would keep the component from being captured or taken back. */
function lacking(kind: string, id: string, settings: Settings, { state, summary }: Observation): Check[] {
  if (state === null || typeof state !== 'object' || Array.isArray(state)) return []
  switch (kind) {
    case 'postgres':
    case 'mysql':
    case 'sqlite':
      return database(id, settings, state, summary)
    case 'env-file':
    case 'flag-file':
      return file(id, settings, state, summary)
    case 'hosts':
      return hosts(id, state)
    case 'kubernetes':
    case 'argo-rollouts':
      return workloads(id, state)
    default:
      return []
  }
}

function database(id: string, settings: Settings, state: State, summary: string): Check[] {
  const file = settings['path']
  if ((state['file'] ?? state['database']) !== 'ok') {
    const remedy = file === undefined ? 'name the database in `database:`' : 'name the database file in `path:`'
    const where = typeof file === 'string' ? `: ${file}` : ''
    return [say('problem', 'database_missing', `${id}: ${summary}${where}`, `${remedy}, or bring it back`, id)]
  }
  const level = state['level'] as { tool: string | null; applied: readonly string[] }
  const { down } = (settings['migrations'] ?? {}) as Settings
  if (level.tool === null || down !== undefined) return []
  const own = BOOKKEEPING.find(b => b.tool === level.tool)?.down ?? null
  const what = `${id}: \`migrations.down\` is not set, so only a restore undoes a migration, and what was written since has to be carried forward`
  const remedy =
    own === null
      ? `${level.tool} cannot undo a migration: set a command of your own that undoes $BACKOUT_MIGRATION`
      : `for example, down: ${own}`
  return [say('warning', 'no_down_command', what, remedy, id)]
}

function file(id: string, settings: Settings, state: State, summary: string): Check[] {
  const remedy = 'name the file in `path:`, or bring it back'
  if (state['mac'] === null) {
    return [say('problem', 'file_missing', `${id}: ${summary}: ${String(settings['path'])}`, remedy, id)]
  }
  if (state['flags'] !== null) return []
  const what = `${id}: ${String(settings['path'])} cannot be read as ${String(settings['format'])}`
  return [say('problem', 'flags_unreadable', what, 'repair the file, or put the right `format:`', id)]
}

type HostState = { unreachable?: true; release?: string | null; units?: Record<string, { is: string }> }

function hosts(id: string, state: State): Check[] {
  const all = Object.entries((state['hosts'] ?? {}) as Record<string, HostState>)
  const named = (which: (host: HostState) => boolean) => all.filter(([, h]) => which(h)).map(([name]) => name)
  const silent = named(h => h.unreachable === true)
  const bare = named(h => h.unreachable !== true && h.release === null)
  const releases = new Set(all.flatMap(([, h]) => (h.release == null ? [] : [h.release])))
  const down = all.flatMap(([name, h]) =>
    Object.entries(h.units ?? {}).flatMap(([unit, { is }]) => (is === 'unknown' ? [`${unit} on ${name}`] : [])),
  )
  const out: Check[] = []
  const add = (level: 'problem' | 'warning', code: string, what: string, remedy: string) =>
    void out.push(say(level, code, `${id}: ${what}`, remedy, id))
  if (silent.length > 0) {
    const remedy = `make it answer: ssh ${silent[0]} true. Until then it would be fenced, and count as a failure`
    add(
      silent.length === all.length ? 'problem' : 'warning',
      'host_unreachable',
      `${silent.join(', ')} cannot be reached`,
      remedy,
    )
  }
  if (bare.length > 0) {
    add(
      'problem',
      'no_release',
      `no release is live on ${bare.join(', ')}`,
      'point the link at a folder below releases/',
    )
  }
  if (releases.size > 1) {
    add('warning', 'release_mixed', `versions are mixed: ${[...releases].join(', ')}`, 'bring all hosts to one release')
  }
  if (down.length > 0) {
    add('warning', 'service_unknown', `cannot tell whether ${down.join(', ')} runs`, 'look at `service.status`')
  }
  return out
}

function workloads(id: string, state: State): Check[] {
  const objects = (state['objects'] ?? {}) as Record<string, unknown>
  const gone = Object.keys(objects).filter(name => objects[name] === null)
  const remedy = 'look at `context:`, `namespace:` and `objects:` of the component'
  if (Object.keys(objects).length === 0) {
    return [say('problem', 'object_missing', `${id}: nothing there has the labels of \`selector\``, remedy, id)]
  }
  return gone.length === 0
    ? []
    : [say('problem', 'object_missing', `${id}: ${gone.join(', ')} is not there`, remedy, id)]
}
