import type { Config } from '../../config/load.ts'
import { secretsInNames } from '../../config/names.ts'
import { Graph } from '../../core/graph.ts'
import { isDatabase } from '../../data/engine.ts'
import { type Check, plural, saying } from './check.ts'

const say = saying('configuration')

/** What the file says, and what it leaves open. */
export function settingsChecks(config: Config): Check[] {
  const { components, probes, gates } = config
  const count = [
    plural(Object.keys(components).length, 'component'),
    plural(Object.keys(probes).length, 'probe'),
    plural(Object.keys(gates).length, 'gate'),
  ]
  const loaded = say('ok', 'config', `${config.file}: ${config.environment}, ${count.join(', ')}`)
  return [loaded, ...unknownGates(config), ...unused(config), ...policyChecks(config), ...componentChecks(config)]
}

/** Such a name is hidden wherever it stands in a sentence. The secrets have been read. */
export function commonSecrets(config: Config): Check[] {
  const places = secretsInNames(config)
  if (places === null) return []
  const which = places.length === 0 ? 'a secret' : places.join(', ')
  const what = `The value of ${which} is also part of a name in the file, and hidden where that name is printed`
  const remedy = 'write what is no secret into the file as it is, or call the component, gate or probe otherwise'
  return [say('warning', 'secret_in_name', what, remedy)]
}

/** Gates that the settings of components name, by the component. */
function gatesNamed(config: Config): { component: string; gate: string }[] {
  return Object.entries(config.components).flatMap(([component, { settings }]) =>
    gatesIn(settings).map(gate => ({ component, gate })),
  )
}

function gatesIn(value: unknown): string[] {
  if (value === null || typeof value !== 'object') return []
  return Object.entries(value).flatMap(([key, inner]) =>
    (key === 'gate' || key === 'batchGate') && typeof inner === 'string' ? [inner] : gatesIn(inner),
  )
}

function unknownGates(config: Config): Check[] {
  const known = Object.keys(config.gates)
  return gatesNamed(config)
    .filter(({ gate }) => !known.includes(gate))
    .map(({ component, gate }) => {
      const remedy = known.length === 0 ? 'define it under gates:' : `define it, or name one of ${known.join(', ')}`
      return say(
        'problem',
        'gate_unknown',
        `${component} asks the gate "${gate}", which is not defined`,
        remedy,
        component,
      )
    })
}

function unused(config: Config): Check[] {
  const { verify, watch, bake } = config.policy
  const asked = new Set([
    ...verify,
    ...(watch?.gates ?? []),
    ...(bake?.gates ?? []),
    ...gatesNamed(config).map(g => g.gate),
  ])
  const idle = Object.keys(config.gates).filter(gate => !asked.has(gate))
  const measured = new Set(Object.values(config.gates).flatMap(gate => gate.probes))
  const alone = Object.keys(config.probes).filter(probe => !measured.has(probe))
  return [
    ...idle.map(gate =>
      say('note', 'gate_unused', `nothing asks the gate ${gate}`, 'name it in policy.verify or policy.watch'),
    ),
    ...alone.map(probe => say('note', 'probe_unused', `no gate asks the probe ${probe}`, 'name it in a gate')),
  ]
}

function policyChecks({ policy }: Config): Check[] {
  const out: Check[] = []
  if (policy.verify.length === 0) {
    const what = 'policy.verify is empty: nothing proves that it works after going back, before users return'
    out.push(say('warning', 'verify_empty', what, 'write a probe and a gate, and name the gate in policy.verify'))
  }
  if (policy.watch === undefined) {
    const what = 'policy.watch is not set: nobody looks on once users are back'
    out.push(say('note', 'watch_missing', what, 'policy.watch: { gates: [GATE], for: 1h }'))
  }
  if (policy.bake === undefined) {
    const what = 'policy.bake is not set: no release becomes known-good by itself'
    out.push(
      say(
        'note',
        'bake_missing',
        what,
        'policy.bake: { gates: [GATE], for: 10m }, or: backout release mark RELEASE known-good',
      ),
    )
  }
  return out
}

type Settings = Readonly<Record<string, unknown>>

/** What can be told of each component before it is asked. */
function componentChecks(config: Config): Check[] {
  return Object.entries(config.components).flatMap(([id, { adapter, settings }]) => {
    if (isDatabase(adapter.kind)) return writers(config, id, settings as Settings)
    const unverified = adapter.kind === 'command' && (settings as Settings)['verify'] === undefined
    if (!unverified) return []
    const what = `${id} has no \`verify\`: after an interruption a person must say whether \`apply\` took effect`
    return [say('warning', 'no_verify', what, 'set `verify` to a command that asks the system', id)]
  })
}

function writers({ components }: Config, id: string, settings: Settings): Check[] {
  if (settings['writers'] === 'none') return []
  const graph = new Graph(Object.entries(components).map(([name, c]) => ({ id: name, dependsOn: c.dependsOn })))
  const dependents = [...graph.dependents(id)].map(name => components[name])
  if (dependents.some(c => c !== undefined && canStop(c.adapter.kind, c.settings as Settings))) return []
  const what = `nobody is known who writes ${id} and could be stopped, so only \`leave\` is a way back for it`
  const remedy = `let the component that writes depend on ${id} (dependsOn: [${id}]) and say how it is stopped; or set \`writers: none\` if nothing writes`
  return [say('warning', 'writers_unknown', what, remedy, id)]
}

function canStop(kind: string, settings: Settings): boolean {
  if (kind === 'hosts') return settings['service'] !== undefined
  return kind === 'command' && ((settings['serves'] ?? {}) as Settings)['stopped'] !== undefined
}
