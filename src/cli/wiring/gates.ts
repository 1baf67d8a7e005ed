import { BackoutError } from '../../core/errors.ts'
import type { GateRule, Probe } from '../../core/gate.ts'
import { openProbe } from '../../probes/index.ts'
import type { Environment } from './environment.ts'

/** A gate of the configuration with its probes opened. */
export function gateOf(environment: Environment, name: string): { rule: GateRule; probes: readonly Probe[] } {
  const { config } = environment
  const gate = config.gates[name]
  if (gate === undefined) {
    throw new BackoutError({
      code: 'gate_unknown',
      what: `There is no gate "${name}" in ${config.file}`,
      cause: `there are: ${Object.keys(config.gates).join(', ') || 'none'}`,
      next: 'define it under gates:, or name one of these',
      exit: 'usage',
    })
  }
  const rule = {
    name,
    attempts: gate.attempts,
    intervalMs: gate.interval,
    pass: gate.pass,
    timeoutMs: gate.timeout,
  }
  return { rule, probes: gate.probes.map(id => openProbe(id, config.probes[id] as never, config.baseDir)) }
}
