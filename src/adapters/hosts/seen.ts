import { type Fleet, type Host, type Unit } from './fleet.ts'
import { facts, type HostView, parseLook } from './look.ts'
import { lookScript } from './scripts.ts'

/** Milliseconds for which what a host said right after a step still answers what became of it. */
const FRESH_MS = 2_000

/** What hosts said at the end of a step's own command, by the step's mark, until it is asked for. */
const said = new WeakMap<Fleet, Map<string, { readonly view: HostView; readonly at: number }>>()

/**
 * The step's script, and once that has ended well the script that looks: a question of its own to the host, without a
 * way there of its own. Read whole before anything runs.
 */
export function thenLook(fleet: Fleet, host: Host, units: readonly Unit[], script: string): string {
  return `{\n(\n${script}) && (\n${lookScript(fleet, host, units)})\n}\n`
}

/** The facts of the step's script. What the look after it saw is kept for `lastSeen`. Throws where the step's are cut. */
export function factsOfStep(
  fleet: Fleet,
  host: Host,
  units: readonly Unit[],
  idem: string,
  output: { readonly stdout: string; readonly stderr: string },
): [string, string][] {
  const end = /^end\n/m.exec(output.stdout)
  const cut = end === null ? output.stdout.length : end.index + end[0].length
  const seen = output.stdout.slice(cut)
  const kept = said.get(fleet) ?? new Map<string, { view: HostView; at: number }>()
  said.set(fleet, kept)
  kept.delete(idem)
  if (seen.endsWith('\nend\n')) {
    kept.set(idem, { view: parseLook(host, units, facts(host, seen, output.stderr)), at: performance.now() })
  }
  return facts(host, output.stdout.slice(0, cut), output.stderr)
}

/** What the host said right after this step, once; null where it is to be asked. */
export function lastSeen(fleet: Fleet, idem: string): HostView | null {
  const seen = said.get(fleet)?.get(idem)
  said.get(fleet)?.delete(idem)
  return seen !== undefined && performance.now() - seen.at < FRESH_MS ? seen.view : null
}
