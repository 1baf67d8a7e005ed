import { EXIT } from '../../core/errors.ts'
import { askGate, type GateResult } from '../../core/gate.ts'
import { paint } from '../out.ts'
import type { Globals } from '../program.ts'
import { type Session, withSession } from '../session.ts'
import { wrap } from '../text.ts'
import { gateOf } from '../wiring/gates.ts'

export function gates(globals: Globals, _options: unknown, name?: string): Promise<number> {
  return withSession(globals, async session => {
    const names = name === undefined ? Object.keys(session.environment.config.gates) : [name]
    const results = await askAll(session, names)
    session.out.data(results)
    for (const result of results) show(session, result)
    if (names.length === 0) session.out.line('There are no gates in backout.yaml.')
    return results.every(r => r.outcome === 'pass') ? EXIT.ok : EXIT.gate
  })
}

/** Asks the named gates, each to its end, one after the other, so that they do not load one another. */
export async function askAll({ environment }: Session, names: readonly string[]): Promise<GateResult[]> {
  const results: GateResult[] = []
  for (const name of names) {
    const { rule, probes } = gateOf(environment, name)
    results.push(await askGate(rule, probes, environment.clock, new AbortController().signal))
  }
  return results
}

const GAP = ' '.repeat(13)

function show({ out }: Session, result: GateResult): void {
  const style = result.outcome === 'pass' ? 'green' : result.outcome === 'fail' ? 'red' : 'yellow'
  out.line(`${paint(style, result.outcome.padEnd(12))} ${result.gate}`)
  for (const [name, s] of Object.entries(result.samples)) {
    const mark = s.ok === true ? '✓' : s.ok === false ? '✗' : '?'
    for (const line of wrap(`${mark} ${name}: ${s.text}`, out.width, GAP, '  ')) out.line(line)
  }
}
