import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { BACKOUT, built } from './support/built.ts'
import { command } from './support/command.ts'
import { inFolder, interleave, median, ratio, timed } from './support/measure.ts'
import { ms, notHere, type Row, times } from './support/row.ts'

const ROUNDS = 15
const CONFIG = `environment: bench
components:
  thing: { adapter: command, settings: { identity: bench, observe: 'echo "{\\"state\\":1}"', apply: 'true' } }
`

/** How long commands take from nothing: the bare Node beside them, and what others take to say hello. */
export async function bench(): Promise<Row[]> {
  built()
  return inFolder(async dir => {
    await writeFile(join(dir, 'backout.yaml'), CONFIG)
    const env = { BACKOUT_KEYS: join(dir, 'keys'), BACKOUT_HOME: '' }
    const status = [...BACKOUT, '--config', join(dir, 'backout.yaml'), 'status']
    const bare = [BACKOUT[0], '-e', '0']
    const run = (argv: readonly string[]) => () => timed(() => command(argv, env))
    const arms = { help: run([...BACKOUT, '--help']), status: run(status), bare: run(bare) }
    await command(status, env)
    const found = await interleave(ROUNDS, arms)
    const row = (what: string, ours: readonly number[], goal: Row['goal']): Row => ({
      what,
      backout: ms(median(ours)),
      compared: `node -e 0: ${ms(median(found.bare))}`,
      ratio: times(ratio(ours, found.bare)),
      goal,
    })
    return [
      row('`backout --help`, cold', found.help, { text: 'within 2x', met: ratio(found.help, found.bare) <= 2 }),
      row('`backout status`, cold, with a configuration and a journal', found.status, null),
      await kubectl(median(found.status)),
    ]
  })
}

async function kubectl(statusMs: number): Promise<Row> {
  const what = '`backout status` and `kubectl version --client`'
  const path = (process.env['PATH'] ?? '').split(':').find(folder => existsSync(join(folder, 'kubectl')))
  if (path === undefined) return notHere(what, null, 'no kubectl')
  const { theirs } = await interleave(ROUNDS, {
    theirs: () => timed(() => command([join(path, 'kubectl'), 'version', '--client'])),
  })
  return {
    what,
    backout: ms(statusMs),
    compared: `kubectl: ${ms(median(theirs))}`,
    ratio: times(statusMs / median(theirs)),
    goal: null,
  }
}
