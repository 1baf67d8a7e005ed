import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { chmod, cp, mkdir, readFile, readlink, rm, symlink, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { TestSwitch } from '../../src/adapters/traffic-http/switch.fixture.ts'
import { TOOLS } from './tools.ts'
import { configOf, INSTANCES, type WorldConfig } from './world-config.ts'

const NAMES = [...INSTANCES, 'edge']

interface Kept {
  readonly services: Readonly<Record<string, string | null>>
  readonly weights: Record<string, number>
  readonly writes: readonly Record<string, number>[]
}

/** Changes the configuration of a world before anything is captured. */
export type Change = (config: WorldConfig) => WorldConfig

/** A whole environment in one folder: everything that Backout takes back, with real processes, files and databases. */
export class World {
  readonly dir: string
  readonly traffic = new TestSwitch()
  readonly #kept = new Map<string, Kept>()
  #change: Change = config => config

  constructor(dir: string) {
    this.dir = dir
  }

  path(...parts: string[]): string {
    return join(this.dir, ...parts)
  }

  get env(): Record<string, string> {
    return { BACKOUT_KEYS: this.path('keys'), BACKOUT_USER: 'ann', TMPDIR: this.path('tmp') }
  }

  /** Makes it in the state of v1, captures that, brings v2 in, plans, and keeps all that for `reset`. */
  async prepare(capture: () => Promise<unknown>, plan: () => Promise<unknown>, change: Change = c => c): Promise<void> {
    this.#change = change
    await this.traffic.start()
    await this.#make()
    for (const name of NAMES) this.#start(name, 'v1')
    await capture()
    await this.#upgrade()
    await this.#stopAll()
    for (const name of NAMES) this.#start(name, 'v2')
    await plan()
    await this.keep('v2')
    await this.reset()
  }

  /** Keeps everything as it is now, for `reset`: files, which services run what, where traffic goes. */
  async keep(name: string): Promise<void> {
    const services = await this.#services()
    await this.#stopAll()
    execFileSync('cp', ['-a', this.dir, `${this.dir}.${name}`])
    const { weights, writes } = this.traffic
    this.#kept.set(name, { services, weights: { ...weights }, writes: [...writes] })
  }

  /** Everything as it was kept; right after v2 came in, unless told otherwise. */
  async reset(name = 'v2'): Promise<void> {
    const kept = this.#kept.get(name)
    if (kept === undefined) throw new Error(`nothing is kept as ${name}`)
    await this.#stopAll()
    await rm(this.dir, { recursive: true, force: true })
    execFileSync('cp', ['-a', `${this.dir}.${name}`, this.dir])
    this.traffic.set(kept.weights)
    this.traffic.writes.splice(0, Infinity, ...kept.writes)
    const before = name === 'v2' ? '' : readFileSync(this.path('effects'), 'utf8')
    for (const [service, release] of Object.entries(kept.services)) {
      if (release !== null) this.#start(service, release)
    }
    await writeFile(this.path('effects'), before)
  }

  async dispose(): Promise<void> {
    await this.#stopAll()
    await this.traffic.stop()
    await rm(this.dir, { recursive: true, force: true })
    for (const name of this.#kept.keys()) await rm(`${this.dir}.${name}`, { recursive: true, force: true })
  }

  async #make(): Promise<void> {
    for (const dir of ['tools', 'run', 'conf', 'data', 'search', 'mail', 'keys', 'tmp']) {
      await mkdir(this.path(dir), { recursive: true })
    }
    for (const [name, text] of Object.entries(TOOLS)) {
      await writeFile(this.path('tools', name), text)
      await chmod(this.path('tools', name), 0o755)
    }
    for (const fleet of ['app', 'edge']) {
      for (const release of ['v1', 'v2']) await this.#unpack(`${fleet}/releases/${release}`, release)
      await symlink('releases/v1', this.path(fleet, 'current'))
    }
    this.#git('init', '-q', '-b', 'main', this.path('conf.git'))
    await this.#commit({ 'limits.conf': 'max 10\n' }, 'start')
    await this.#commit({ 'site.conf': 'listen 80\n' }, 'v1')
    await this.#place('v1')
    await writeFile(this.path('shop.env'), 'GREETING=hello\nAPI_TOKEN=token-of-today\n')
    await writeFile(this.path('flags.json'), '{"checkout": false}\n')
    await writeFile(this.path('search', 'index'), 'index-1\n')
    await writeFile(this.path('mail', 'box'), 'mail-1\n')
    this.#databases()
    await writeFile(
      this.path('backout.yaml'),
      JSON.stringify(this.#change(configOf(this.dir, this.traffic.url)), null, 2),
    )
  }

  #databases(): void {
    this.sql(
      'shop.db',
      `PRAGMA journal_mode = WAL;
       CREATE TABLE orders (id INTEGER PRIMARY KEY AUTOINCREMENT, total NUMERIC NOT NULL);
       CREATE TABLE undone (name TEXT NOT NULL);
       CREATE TABLE knex_migrations (id INTEGER PRIMARY KEY, name TEXT, batch INTEGER, migration_time TEXT);
       CREATE TABLE knex_migrations_lock ("index" INTEGER PRIMARY KEY, is_locked INTEGER);
       INSERT INTO knex_migrations_lock VALUES (1, 0);
       INSERT INTO knex_migrations (name, batch) VALUES ('001_start', 1);
       INSERT INTO orders (total) VALUES (10), (250.5);`,
    )
    this.sql(
      'archive.db',
      `CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT); INSERT INTO notes VALUES (1, 'old');`,
    )
  }

  async #upgrade(): Promise<void> {
    for (const fleet of ['app', 'edge']) {
      await unlink(this.path(fleet, 'current'))
      await symlink('releases/v2', this.path(fleet, 'current'))
    }
    await this.#commit({ 'site.conf': 'listen 8080\n', 'extra.conf': 'new\n' }, 'v2')
    await this.#place('v2')
    await writeFile(this.path('shop.env'), 'GREETING=hi\nNEW=1\nAPI_TOKEN=token-of-today\n')
    await writeFile(this.path('flags.json'), '{"checkout": true}\n')
    await writeFile(this.path('search', 'index'), 'index-2\n')
    await writeFile(this.path('mail', 'box'), 'mail-2\n')
    const add = `INSERT INTO knex_migrations (name, batch) VALUES`
    this.sql(
      'shop.db',
      `ALTER TABLE orders ADD COLUMN discount NUMERIC DEFAULT 0;
       CREATE TABLE coupons (code TEXT PRIMARY KEY);
       ${add} ('002_discount', 2), ('003_coupons', 2);
       INSERT INTO orders (total, discount) VALUES (7, 3);
       INSERT INTO coupons VALUES ('XMAS');`,
    )
    this.sql('archive.db', `INSERT INTO notes VALUES (2, 'since'); UPDATE notes SET text = 'spoilt' WHERE id = 1;`)
  }

  async #unpack(folder: string, version: string): Promise<void> {
    await mkdir(this.path(folder), { recursive: true })
    await writeFile(this.path(folder, 'VERSION'), version)
    const hash = createHash('sha256').update(version).digest('hex')
    await writeFile(this.path(folder, 'MANIFEST.sha256'), `${hash}  VERSION\n`)
  }

  #git(...argv: string[]): string {
    const who = ['-c', 'user.name=ann', '-c', 'user.email=ann@example.org', '-c', 'commit.gpgsign=false']
    return execFileSync('git', [...who, ...argv], { encoding: 'utf8' })
  }

  async #commit(files: Record<string, string>, tag: string): Promise<void> {
    const at = this.path('conf.git')
    for (const [name, content] of Object.entries(files)) await writeFile(join(at, name), content)
    this.#git('-C', at, 'add', '-A')
    this.#git('-C', at, 'commit', '-q', '-m', tag)
    this.#git('-C', at, 'tag', tag)
  }

  async #place(tag: string): Promise<void> {
    for (const name of this.#git('-C', this.path('conf.git'), 'ls-tree', '--name-only', tag).trim().split('\n')) {
      await cp(this.path('conf.git', name), this.path('conf', name))
    }
  }

  sql(file: string, text: string): Record<string, unknown>[] {
    const db = new DatabaseSync(this.path('data', file), { timeout: 2_000 })
    try {
      if (/^\s*SELECT/i.test(text)) return db.prepare(text).all()
      db.exec(text)
      return []
    } finally {
      db.close()
    }
  }

  #start(name: string, release: string): void {
    const cwd = this.path(name === 'edge' ? 'edge' : 'app', 'releases', release)
    execFileSync(this.path('tools/service.sh'), ['start', name], { cwd, stdio: 'ignore' })
  }

  async #services(): Promise<Record<string, string | null>> {
    return Object.fromEntries(await Promise.all(NAMES.map(async name => [name, await this.running(name)] as const)))
  }

  /** Ends every process that was started out of this folder, and nothing else. */
  async #stopAll(): Promise<void> {
    for (let pids = this.processes(); pids.length > 0; pids = this.processes()) {
      for (const pid of pids) {
        try {
          process.kill(pid, 'SIGKILL')
        } catch {
          // Gone by itself meanwhile.
        }
      }
      await new Promise(resolve => setTimeout(resolve, 5))
    }
  }

  /** Processes whose command line names this folder: services, steps, commands of Backout. */
  processes(): number[] {
    return readdirSync('/proc').flatMap(name => {
      if (!/^\d+$/.test(name)) return []
      try {
        return readFileSync(`/proc/${name}/cmdline`, 'utf8').includes(`${this.dir}/`) ? [Number(name)] : []
      } catch {
        return []
      }
    })
  }

  isService(pid: number): boolean {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(`${this.dir}/tools/daemon.sh`)
    } catch {
      return true
    }
  }

  /** Where everything is: two runs that came to the same end have the same answer. */
  async state(): Promise<Record<string, unknown>> {
    const conf = Object.fromEntries(
      await Promise.all(
        readdirSync(this.path('conf')).map(async name => [name, await readFile(this.path('conf', name), 'utf8')]),
      ),
    )
    const text = (...parts: string[]) => readFile(this.path(...parts), 'utf8')
    return {
      links: [await readlink(this.path('app/current')), await readlink(this.path('edge/current'))],
      running: await this.#services(),
      conf,
      env: await text('shop.env'),
      flags: await text('flags.json'),
      search: await text('search/index'),
      mail: await text('mail/box'),
      weights: this.traffic.weights,
      shop: this.#dump('shop.db'),
      archive: this.#dump('archive.db'),
    }
  }

  /** The version that the service's own process was started with; null where there is none. */
  async running(name: string): Promise<string | null> {
    const [pid = '', version = ''] = (await readFile(this.path('run', name), 'utf8')).trim().split(' ')
    const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
    return line.includes(`${this.dir}/tools/daemon.sh`) ? version : null
  }

  #dump(file: string): unknown {
    const schema = this.sql(file, `SELECT name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY name`)
    const tables = schema.filter(s => String(s['sql']).startsWith('CREATE TABLE')).map(s => String(s['name']))
    // What was carried forward is noted by run: the run and what is made of it are another in every world.
    const carried = 'SELECT table_name, action FROM backout_carried ORDER BY 1, 2'
    const rows = (t: string) => this.sql(file, t === 'backout_carried' ? carried : `SELECT * FROM ${t} ORDER BY 1`)
    return { schema, rows: Object.fromEntries(tables.map(t => [t, rows(t)])) }
  }

  /** What took effect, in order: [milliseconds, what]. */
  async effects(): Promise<{ at: number; what: string }[]> {
    const lines = (await readFile(this.path('effects'), 'utf8')).trim().split('\n').filter(Boolean)
    return lines.map(line => ({ at: Number(line.slice(0, 13)), what: line.slice(14) }))
  }
}
