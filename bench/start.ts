import { spawnSync } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { BACKOUT, built } from './support/built.ts'
import { command } from './support/command.ts'
import { inFolder, interleave, median, ratio, timed } from './support/measure.ts'
import { ms, notHere, type Row, times } from './support/row.ts'

const ROUNDS = 25

/** What a person waits for before anything is done: whole processes, from exec to exit. The files are in the page cache. */
export async function bench(): Promise<Row[]> {
  built()
  return inFolder(async dir => {
    const env = { BACKOUT_KEYS: join(dir, 'keys'), BACKOUT_USER: 'bench' }
    const config = await environment(dir, env)
    const kubectl = spawnSync('kubectl', ['version', '--client']).status === 0
    const idle = () => timed(() => command([BACKOUT[0], '-e', '0']))
    const taken = await interleave(ROUNDS, {
      node: idle,
      help: () => timed(() => command([...BACKOUT, '--help'])),
      status: () => timed(() => command([...BACKOUT, '-c', config, 'status'], env)),
      kubectl: kubectl ? () => timed(() => command(['kubectl', 'version', '--client'])) : () => Number.NaN,
    })
    const { node, help, status } = taken
    const within = ratio(help, node)
    const goal = { text: 'within 2x', met: within <= 2 }
    const beside = (name: string, ours: number[]) => {
      const against = 'kubectl version --client'
      if (kubectl) return rowOf(name, ours, against, taken.kubectl, null)
      return notHere(`${name} against ${against}`, null, 'kubectl is not installed')
    }
    return [
      rowOf('backout --help', help, 'node -e 0', node, goal),
      rowOf('backout status, of a run that ended', status, 'node -e 0', node, null),
      beside('backout --help', help),
      beside('backout status', status),
    ]
  })
}

function rowOf(what: string, ours: number[], against: string, theirs: number[], goal: Row['goal']): Row {
  const compared = `${against}: ${ms(median(theirs))}`
  return { what, backout: ms(median(ours)), compared, ratio: times(ratio(ours, theirs)), goal }
}

/** An environment in which something was captured, changed and taken back. */
async function environment(dir: string, env: Record<string, string>): Promise<string> {
  const config = join(dir, 'backout.yaml')
  const flags = join(dir, 'flags.json')
  const component = { adapter: 'flag-file', settings: { path: flags, format: 'json' } }
  await writeFile(config, JSON.stringify({ environment: 'bench', components: { flags: component } }))
  await writeFile(flags, '{"checkout": false}\n')
  await command([...BACKOUT, '-c', config, 'capture', 'v1', '--known-good'], env)
  await writeFile(flags, '{"checkout": true}\n')
  await command([...BACKOUT, '-c', config, 'run', '--to', 'v1', '--yes'], env)
  return config
}
