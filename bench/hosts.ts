import { execFileSync, spawnSync } from 'node:child_process'
import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { noSshd, sshHosts } from '../test/support/sshd.ts'
import { playbook } from './support/ansible.ts'
import { BACKOUT, built } from './support/built.ts'
import { command } from './support/command.ts'
import { inFolder, interleave, median, ratio, timed } from './support/measure.ts'
import { ms, notHere, type Row, times } from './support/row.ts'
import { Shops } from './support/shops.ts'

const HOSTS = 20
const ROUNDS = 5
const WHAT = `symlink switch with restart on ${HOSTS} hosts over SSH, each verified`
const GOAL = '5x faster'

/** The steps of `backout run`, each verified, and the whole command, against an `ansible-playbook` of two tasks. */
export async function bench(): Promise<Row[]> {
  const ansibleHere = spawnSync('ansible-playbook', ['--version']).error === undefined
  const missing = noSshd() ?? (ansibleHere ? null : 'Ansible is not installed; on Debian: apt-get install ansible')
  if (missing !== null) return [notHere(WHAT, GOAL, missing)]
  built()
  return inFolder(async dir => {
    const names = Array.from({ length: HOSTS }, (_, i) => `web-${String(i + 1).padStart(2, '0')}`)
    const ssh = await sshHosts(names)
    const shops = new Shops(join(dir, 'h'), names)
    try {
      await shops.make()
      return await measured(dir, shops, ssh.config)
    } finally {
      shops.stop()
      await ssh.dispose()
    }
  })
}

async function measured(dir: string, shops: Shops, sshConfig: string): Promise<Row[]> {
  const env = { BACKOUT_KEYS: join(dir, 'keys'), BACKOUT_USER: 'bench' }
  const backout = (...words: string[]) => command([...BACKOUT, '-c', join(dir, 'backout.yaml'), ...words], env)
  await writeFile(join(dir, 'backout.yaml'), JSON.stringify(settings(shops, sshConfig)))
  await shops.put('v1')
  await backout('capture', 'v1', '--known-good')
  const [piped, plain] = await Promise.all([
    playbook(dir, shops, sshConfig, { name: 'piped', pipelining: true }),
    playbook(dir, shops, sshConfig, { name: 'plain', pipelining: false }),
  ])
  const plan = join(dir, 'plan.json')
  const steps: number[] = []
  const open: number[] = []
  /** From v2 to v1 each time, looked at afterwards. */
  const back = async (work: () => Promise<unknown>) => {
    await shops.put('v2')
    const pids = await shops.pids()
    const took = await timed(work)
    await shops.check('v1', pids)
    return took
  }
  const taken = await interleave(ROUNDS, {
    backout: async () => {
      await shops.put('v2')
      await backout('plan', '--to', 'v1', '--out', plan)
      const took = await back(() => backout('run', plan, '--yes'))
      steps.push(stepsMs(await backout('report', '--json')))
      return took
    },
    piped: async () => {
      await endConnections(dir)
      const took = await back(() => command(piped.argv, piped.env))
      // Again, over the connections that Ansible keeps for a minute.
      open.push(await back(() => command(piped.argv, piped.env)))
      return took
    },
    plain: async () => {
      await endConnections(dir)
      return back(() => command(plain.argv, plain.env))
    },
  })
  return rowsOf({ ...taken, steps, open })
}

type Taken = Record<'backout' | 'steps' | 'piped' | 'open' | 'plain', number[]>

function rowsOf({ backout, steps, piped, open, plain }: Taken): Row[] {
  return [
    rowOf(WHAT, steps, open, 'ansible-playbook -f 20 with pipelining, connections open for both'),
    {
      ...rowOf(
        'the whole command: connect, look at everything again, keep the departure, and the above',
        backout,
        piped,
        `the same ansible-playbook, connecting; without pipelining, as Ansible is shipped, ${ms(median(plain))}`,
      ),
      goal: null,
    },
  ]
}

function rowOf(what: string, ours: number[], theirs: number[], against: string): Row {
  const faster = 1 / ratio(ours, theirs)
  return {
    what,
    backout: ms(median(ours)),
    compared: `${against}: ${ms(median(theirs))}`,
    ratio: `${times(faster)} faster`,
    goal: { text: GOAL, met: faster >= 5 },
  }
}

function settings(shops: Shops, sshConfig: string): object {
  const service = (verb: string) => ['{root}/service', verb]
  const fleet = {
    hosts: shops.names,
    sshConfig,
    root: shops.root('{host}'),
    service: { start: service('start'), stop: service('stop'), status: service('status'), restart: service('restart') },
    version: ['cat', '{root}/version'],
    batch: HOSTS,
    concurrency: HOSTS,
    // Ansible does not look whether the service stays up either.
    limits: { settle: '0s' },
  }
  return { environment: 'bench', components: { shop: { adapter: 'hosts', settings: fleet } } }
}

/** Milliseconds from the first step's begin to the last step's end. */
function stepsMs(report: string): number {
  const { steps } = JSON.parse(report) as { steps: { begun: string; ended: string }[] }
  if (steps.length !== HOSTS * 2)
    throw new Error(`${steps.length} steps instead of a switch and a restart for each host`)
  return Math.max(...steps.map(s => Date.parse(s.ended))) - Math.min(...steps.map(s => Date.parse(s.begun)))
}

/** Ends what Ansible keeps connected, by the sockets of its connections. */
async function endConnections(dir: string): Promise<void> {
  const folder = join(dir, 'cp')
  for (const socket of await readdir(folder).catch(() => [])) {
    execFileSync('ssh', ['-o', `ControlPath=${join(folder, socket)}`, '-O', 'exit', 'any'], { stdio: 'ignore' })
  }
}
