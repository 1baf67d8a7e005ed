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
const WHAT = `symlink switch with restart on ${HOSTS} hosts over SSH`
const GOAL = 'at least 5x faster than Ansible'

/** A whole `backout run` of a kept plan against a whole `ansible-playbook`, each making its connections itself. */
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
  /** From v2 to v1 each time, looked at before and afterwards; what Ansible left connected is ended. */
  const arm = (work: () => Promise<unknown>, before?: () => Promise<unknown>) => async () => {
    await shops.put('v2')
    await endConnections(dir)
    await before?.()
    const pids = await shops.pids()
    const took = await timed(work)
    await shops.check('v1', pids)
    return took
  }
  const run = arm(
    () => backout('run', plan, '--yes'),
    () => backout('plan', '--to', 'v1', '--out', plan),
  )
  const steps: number[] = []
  const taken = await interleave(ROUNDS, {
    backout: async () => {
      const took = await run()
      steps.push(stepsMs(await backout('report', '--json')))
      return took
    },
    piped: arm(() => command(piped.argv, piped.env)),
    plain: arm(() => command(plain.argv, plain.env)),
  })
  return rowsOf(taken, steps)
}

function rowsOf(taken: Record<'backout' | 'piped' | 'plain', number[]>, steps: number[]): Row[] {
  const { backout, piped, plain } = taken
  const faster = 1 / ratio(backout, piped)
  const others = `without pipelining: ${ms(median(plain))}`
  return [
    {
      what: `${WHAT}, the whole command`,
      backout: ms(median(backout)),
      compared: `ansible-playbook -f ${HOSTS}, pipelining: ${ms(median(piped))} (${others})`,
      ratio: `${times(faster)} faster`,
      goal: { text: GOAL, met: faster >= 5 },
    },
    {
      what: 'of that, the steps: from the first begun to the last verified',
      backout: ms(median(steps)),
      compared: 'the same',
      ratio: `${times(1 / ratio(steps, piped))} faster`,
      goal: null,
    },
  ]
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
