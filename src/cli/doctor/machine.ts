import type { Config } from '../../config/load.ts'
import { type Check, saying } from './check.ts'
import { programAt, type Wanted, wantedBy } from './programs.ts'

const say = saying('machine')

const GET: Readonly<Record<string, string>> = {
  git: 'install Git: apt install git',
  ssh: 'install the OpenSSH client: apt install openssh-client',
}

/** Node, and the programs that going back will call on this machine. */
export async function machineChecks(config: Config): Promise<Check[]> {
  const node = say('ok', 'node', `Node ${process.versions.node}`)
  const byProgram = new Map<string, Wanted[]>()
  for (const wanted of wantedBy(config)) {
    const key = wanted.program.includes('/') ? `${wanted.cwd}\0${wanted.program}` : wanted.program
    byProgram.set(key, [...(byProgram.get(key) ?? []), wanted])
  }
  const found: string[] = []
  const missing: Check[] = []
  for (const wanted of byProgram.values()) {
    const [{ program, cwd } = { program: '', cwd: '' }] = wanted
    if ((await programAt(program, cwd)) !== null) found.push(program)
    else missing.push(gone(program, wanted))
  }
  const there = [...new Set(found)].sort().join(', ')
  return [node, ...(there === '' ? [] : [say('ok', 'programs', `programs that are called: ${there}`)]), ...missing]
}

function gone(program: string, wanted: readonly Wanted[]): Check {
  const by = [...new Set(wanted.map(w => w.by))]
  const what = `${program} is not there, or may not be run; ${by.join(', ')} ${by.length > 1 ? 'call' : 'calls'} it`
  const remedy = GET[program] ?? `install it where PATH finds it, or correct the command in backout.yaml`
  const level = wanted.every(w => w.guessed) ? 'warning' : 'problem'
  const component = by.length === 1 && !by[0]?.includes(' ') ? by[0] : null
  return say(level, 'program_missing', what, remedy, component)
}
