import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type CommandLine, commandLine } from '../support/command-line.ts'
import {
  IMAGES,
  type Kube,
  notOwn,
  rolledOut,
  type Space,
  startKube,
  workload,
} from '../support/kubernetes/component.ts'
import { noKubectl } from '../support/kubernetes/kubectl.ts'
import type { Wire } from '../support/kubernetes/real/wire.ts'
import { MAIN } from '../support/shipped.ts'

// What the down-script works on lies on this machine, which a pod of a cluster elsewhere does not see.
const without = noKubectl() ?? notOwn
/** Pods of the stand-in are processes of this machine; those of nodes on it see its files where they are mounted. */
const MACHINE = { mountPath: '/machine', name: 'machine' }
const WAIT = { timeout: 60_000, interval: 100 }

/** Undoes the newest migration, whichever that is by then: as `typeorm migration:revert` and `dbmate rollback` do. */
const REVERT = `
const db = new (require('node:sqlite').DatabaseSync)(process.env.BACKOUT_DATABASE, { timeout: 10000 })
const { name } = db.prepare('SELECT name FROM knex_migrations ORDER BY id DESC LIMIT 1').get()
db.exec('BEGIN IMMEDIATE; DROP TABLE ' + name.slice(4))
db.prepare('DELETE FROM knex_migrations WHERE name = ?').run(name)
db.exec('COMMIT')
`

describe.skipIf(without !== null)(`a down-script that runs in the cluster ${without ?? ''}`, () => {
  let kube: Kube
  let wire: Wire
  let space: Space
  let folder: string
  let line: CommandLine
  beforeAll(async () => {
    kube = await startKube()
    wire = await kube.wire()
  })
  afterAll(async () => {
    await wire.close()
    await kube[Symbol.asyncDispose]()
  })
  beforeEach(async () => {
    space = await kube.namespace()
    folder = await mkdtemp(join(tmpdir(), 'backout-down-'))
    line = commandLine(folder)
    await writeFile(join(folder, 'revert.cjs'), REVERT)
    await released()
  })
  afterEach(() => rm(folder, { recursive: true, force: true }))

  const at = (file: string) => join(folder, file)
  function sql(text: string): Record<string, unknown>[] {
    const db = new DatabaseSync(at('shop.db'), { timeout: 10_000 })
    try {
      if (text.startsWith('SELECT')) return db.prepare(text).all()
      db.exec(text)
      return []
    } finally {
      db.close()
    }
  }
  const tables = () => sql(`SELECT name FROM sqlite_schema WHERE name IN ('orders', 'coupons')`).map(t => t['name'])

  /** v1 is known good, v2 has one migration more; what undoes that waits until the file `go` is there. */
  async function released(): Promise<void> {
    const { kubeconfig } = wire
    const limits = { settle: '100ms', away: '1s', api: '2s' }
    const script = `echo begun >>${at('begun')}; until [ -e ${at('go')} ]; do sleep 0.1; done; exec ${process.execPath} ${at('revert.cjs')}`
    const inside = kube.standIn === null ? ['chroot', MACHINE.mountPath] : []
    const migrations = { runIn: 'app', down: [...inside, 'sh', '-c', script] }
    const app = { kubeconfig, namespace: space.name, objects: ['deployment/app'], limits }
    const db = { path: 'shop.db', rungs: ['migrate-down', 'restore'], writers: 'none', migrations }
    const components = { app: { adapter: 'kubernetes', settings: app }, db: { adapter: 'sqlite', settings: db } }
    const config = { environment: 'shop', components, policy: { onFailure: 'take' } }
    await writeFile(at('backout.yaml'), JSON.stringify(config))
    await deploy('v1')
    sql(`CREATE TABLE orders (id INTEGER PRIMARY KEY); INSERT INTO orders VALUES (1), (2);
      CREATE TABLE knex_migrations (id INTEGER PRIMARY KEY, name TEXT, batch INTEGER, migration_time TEXT);
      INSERT INTO knex_migrations VALUES (1, '001_orders', 1, '')`)
    expect(await line.backout(['capture', 'v1', '--known-good'])).toMatchObject({ code: 0 })
    await deploy('v2')
    sql(`CREATE TABLE coupons (id INTEGER PRIMARY KEY); INSERT INTO knex_migrations VALUES (2, '002_coupons', 2, '')`)
  }

  async function deploy(value: string): Promise<void> {
    const volumeMounts = kube.standIn === null ? [MACHINE] : []
    const pod = kube.standIn === null ? { volumes: [{ name: MACHINE.name, hostPath: { path: '/' } }] } : {}
    const container = { command: ['sh', '-c', 'exec sleep 100000'], env: [{ name: 'VERSION', value }], volumeMounts }
    await space.kubectl.apply(workload('Deployment', 'app', { image: IMAGES.shell, replicas: 1, container, pod }))
    await rolledOut(space, 'deployment/app')
  }

  const begun = () => expect.poll(() => existsSync(at('begun')), WAIT).toBe(true)

  it('is followed to its end by an abort after its process died: nothing is called left that goes on', async () => {
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', MAIN, 'run', '--yes'], {
      cwd: folder,
      stdio: 'ignore',
      env: { ...process.env, BACKOUT_KEYS: at('keys') },
    })
    await begun()
    child.kill('SIGKILL')
    await once(child, 'close')
    const aborting = line.backout(['abort'])
    const owner = async () => (await line.json<{ owner: { pid: number } | null }>(['status'])).owner?.pid ?? child.pid
    await expect.poll(owner, WAIT).not.toBe(child.pid)
    await expect.poll(async () => (await line.backout(['report'])).stdout, WAIT).toContain('it is waited for')
    await writeFile(at('go'), '')
    const { code, stdout } = await aborting
    expect(code).toBe(7)
    // Who aborts is told what is waited for, and how to end it.
    const [, ends = ''] =
      /it is waited for: the Job \S+ in \S+ is still there, .*\(`kubectl (.*)` ends it\)/.exec(stdout) ?? []
    expect(ends).toMatch(RegExp(`^-n ${space.name} delete job backout-[0-9a-f]+$`))
    expect(stdout).not.toContain('still applied')
    expect(stdout).not.toContain('left as it is')
    expect(tables()).toEqual(['orders'])
    expect((await line.backout(['report'])).stdout).toMatch(/db\/migrate-down\/002_coupons.*done/)
  })

  it('keeps the next rung from being taken beside it where its cluster is away for a while', async () => {
    const going = line.backout(['run', '--yes'])
    await begun()
    await wire.goAway()
    const ended = await going
    await wire.comeBack()
    expect(ended).toMatchObject({ code: 5 })
    expect(ended.stdout).toContain('nothing can tell whether it took effect')
    expect((await line.backout(['resume', '--next-rung'])).code).not.toBe(0)
    expect(tables()).toEqual(['orders', 'coupons'])
    const looking = line.backout(['resolve', 'db/migrate-down/002_coupons', '--look'])
    await looking
    const resuming = line.backout(['resume'])
    await writeFile(at('go'), '')
    expect(await resuming).toMatchObject({ code: 0, stdout: expect.stringContaining('back on v1, verified') as string })
    expect(tables()).toEqual(['orders'])
    expect(sql('SELECT count(*) n FROM orders')).toEqual([{ n: 2 }])
  })
})
