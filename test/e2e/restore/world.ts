import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { readFile, rename, symlink } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { parse, stringify } from 'yaml'
import { Folder } from '../../../src/cli/doctor/folder.fixture.ts'
import { PASSWORD, type PostgresServer } from '../../support/postgres.ts'

const PAGE = join(import.meta.dirname, '..', '..', '..', 'docs', 'restore.md')
const fixture = (name: string) => join(import.meta.dirname, `${name}.fixture.ts`)

/** A service of its own session, known by its pid file; one that has ended and that nobody asked after is not alive. */
const SERVICE = `#!/bin/sh
cd "$(dirname "$0")/.." || exit 9
pidfile=run/$1.pid
alive() {
  pid=$(cat $pidfile 2>/dev/null) && [ -r /proc/$pid/stat ] || return 1
  read -r line </proc/$pid/stat || return 1
  set -- \${line##*) }
  [ "$1" != Z ]
}
wait_for() { i=0; until "$@"; do i=$((i+1)); [ $i -lt 300 ] || exit 9; sleep 0.1; done; }
gone() { ! alive; }
case $2 in
start)
  alive && exit 0
  setsid sh -c 'echo $$ >'$pidfile'.new; mv '$pidfile'.new '$pidfile'; exec sh run/'$1'.command' </dev/null >>run/$1.log 2>&1 &
  wait_for alive
  [ ! -f run/$1.url ] || wait_for curl -fsS -o /dev/null "$(cat run/$1.url)" 2>/dev/null ;;
stop) alive && kill $pid; wait_for gone ;;
status) alive && exit 0; exit 3 ;;
esac
`
const TIMERS = `#!/bin/sh
case $1 in
is) ops/service timer status; code=$?
    [ $2 = running ] && [ $code = 0 ] && exit 0
    [ $2 = stopped ] && [ $code = 3 ] && exit 0
    exit 1 ;;
*) echo "timers $1" >>calls; exec ops/service timer $1 ;;
esac
`
const EDGE = `#!/bin/sh -e
[ "$1" = is ] && exec grep -qx "$2" edge
echo "edge $1" >>calls
echo "$1" >edge.new && mv edge.new edge
`

/** A shop with a timer behind a door that tells inside from outside: real processes on a real PostgreSQL. */
export interface RestoreWorld extends AsyncDisposable {
  readonly folder: Folder
  readonly outside: string
  readonly inside: string
  sql(text: string): Promise<Record<string, unknown>[]>
  /** Takes an order from outside. */
  order(): Promise<number>
  /** The bad release: it calls a column otherwise, which the old one cannot live with. */
  deployV2(): Promise<void>
  /** What was asked of the edge and of the timers, in this order. */
  calls(): string[]
  broken(is: 'yes' | 'no'): Promise<void>
}

interface Ports {
  readonly app: number
  readonly outside: number
  readonly inside: number
}

export async function restoreWorld(server: PostgresServer, database: string): Promise<RestoreWorld> {
  await server.sql(`CREATE DATABASE ${database}`)
  const sql = (text: string) => server.sql(text, database)
  await sql('CREATE TABLE orders (id serial PRIMARY KEY, total int NOT NULL, note text)')
  await sql('CREATE TABLE ticks (id serial PRIMARY KEY, at timestamptz DEFAULT clock_timestamp())')
  await sql(`INSERT INTO orders (total, note) SELECT n, 'seeded' FROM generate_series(1, 20) AS n`)
  const [app, outside, inside] = await Promise.all([freePort(), freePort(), freePort()])
  const ports = { app, outside, inside }
  const folder = await Folder.make(files(ports, server, database))
  await folder.write('backout.yaml', await configuration(ports, server, database, folder))
  for (const name of ['service', 'timers', 'edge']) execFileSync('chmod', ['755', folder.path(`ops/${name}`)])
  await symlink('releases/v1', folder.path('current'))
  const service = (name: string, verb: string) =>
    execFileSync(folder.path('ops/service'), [name, verb], { stdio: 'pipe' })
  for (const name of ['app', 'edge', 'timer']) service(name, 'start')
  const [front, back] = [`http://127.0.0.1:${outside}`, `http://127.0.0.1:${inside}`]
  return {
    folder,
    outside: front,
    inside: back,
    sql,
    async order() {
      const response = await fetch(`${front}/orders`, { method: 'POST' })
      if (response.status !== 201) throw new Error(`no order: ${response.status} ${await response.text()}`)
      return Number(await response.text())
    },
    async deployV2() {
      service('app', 'stop')
      await sql('ALTER TABLE orders RENAME COLUMN total TO cents')
      await symlink('releases/v2', folder.path('current.new'))
      await rename(folder.path('current.new'), folder.path('current'))
      service('app', 'start')
    },
    calls: () => readFileSync(folder.path('calls'), 'utf8').trim().split('\n'),
    broken: is => folder.write('broken', `${is}\n`),
    async [Symbol.asyncDispose]() {
      for (const name of ['timer', 'edge', 'app']) service(name, 'stop')
      await folder[Symbol.asyncDispose]()
    },
  }
}

function files({ app, outside, inside }: Ports, server: PostgresServer, database: string) {
  const url = `postgres://postgres:${PASSWORD}@127.0.0.1:${server.port}/${database}`
  const run = (name: string) => `'${process.execPath}' --disable-warning=ExperimentalWarning '${fixture(name)}'`
  const withUrl = (name: string) => `exec env DATABASE_URL='${url}' ${run(name)}`
  const release = (version: string) => ({ [`releases/${version}/VERSION`]: `${version}\n` })
  return {
    ...release('v1'),
    ...release('v2'),
    'ops/service': SERVICE,
    'ops/timers': TIMERS,
    'ops/edge': EDGE,
    edge: 'open\n',
    broken: 'no\n',
    calls: '',
    'run/app.command': `${withUrl('app')} . ${app}\n`,
    'run/app.url': `http://127.0.0.1:${app}/version`,
    'run/timer.command': `${withUrl('timer')}\n`,
    'run/edge.command': `exec ${run('edge')} edge ${app} ${outside} ${inside}\n`,
    'run/edge.url': `http://127.0.0.1:${inside}/version`,
  }
}

interface Settings {
  settings: Record<string, unknown>
}
interface Page {
  components: { db: Settings; app: Settings }
  probes: Record<string, { url: string }>
  gates: Record<string, { interval: string }>
  policy: { watch: { for: string }; lossHeadroom: number }
}

/** That of docs/restore.md; only where things are is said anew. */
async function configuration(ports: Ports, server: PostgresServer, database: string, { dir }: Folder): Promise<string> {
  const page = await readFile(PAGE, 'utf8')
  const config = parse(/```yaml\n([^]*?)```/.exec(page)?.[1] ?? '') as Page
  const { db, app } = config.components
  db.settings = { ...server.settings(database), rungs: db.settings['rungs'] }
  const service = (verb: string) => `${dir}/ops/service app ${verb}`
  const version = `curl -fsS http://127.0.0.1:${ports.app}/version`
  const own = { start: service('start'), stop: service('stop'), status: service('status') }
  app.settings = { ...app.settings, hosts: ['local'], root: dir, service: own, version }
  const doors: Record<string, number> = { inside: ports.inside, outside: ports.outside }
  for (const [name, probe] of Object.entries(config.probes)) {
    const door = doors[name.split('-')[1] ?? '']
    probe.url = `http://127.0.0.1:${door}${new URL(probe.url).pathname}`
  }
  for (const gate of Object.values(config.gates)) gate.interval = '500ms'
  config.policy.watch.for = '1s'
  // The window is seconds long here, and the timer writes on while the plan is made.
  config.policy.lossHeadroom = 1000
  return stringify(config)
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  if (address === null || typeof address === 'string') throw new Error('no free port')
  return address.port
}
