import { mkdir, readdir, readFile, stat, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { TestProxy } from '../../adapters/haproxy/haproxy.fixture.ts'
import { loadConfig } from '../../config/load.ts'
import { codes, Folder, KNEX } from '../doctor/folder.fixture.ts'
import { catalogue } from '../wiring/environment.ts'
import { mentions } from './app.ts'
import { compose } from './compose.ts'
import { survey } from './look.ts'
import type { Machine } from './site.ts'
import { parseHaproxy } from './traffic.ts'
import { writeConfig } from './write.ts'

const FLAGD = '{"flags":{"new":{"state":"ENABLED","variants":{"on":true,"off":false},"defaultVariant":"on"}}}'

/** A folder with something of everything that an adapter takes back. */
async function wholeShop(): Promise<Folder> {
  const folder = await Folder.make({
    '.env': 'A=1\nDB_PASSWORD=hush-hush\n',
    '.env.example': 'A=\n',
    'flags.json': FLAGD,
    'config/app.yaml': 'rate: 3\n',
    'package.json': '{"dependencies":{"knex":"3"}}',
    'releases/v1/app.js': 'v1',
    'releases/v2/app.js': 'v2',
  })
  await symlink('releases/v2', folder.path('current'))
  await folder.database('shared/shop.db', KNEX)
  await folder.database('test/fixture.db', 'CREATE TABLE t (x)')
  folder.git('init', '-q', '-b', 'main')
  folder.git('remote', 'add', 'origin', 'https://example.org/acme/webshop.git')
  folder.git('add', 'config')
  folder.git('commit', '-qm', 'first')
  return folder
}

function load(folder: Folder) {
  return loadConfig(folder.path('backout.yaml'), catalogue)
}

/** The file with every comment that shows YAML taken in. */
function uncommented(text: string, from: string): string {
  const [before = '', ...rest] = text.split(from)
  const after = (from + rest.join(from)).split('\n').map(line => line.replace(/^( *)# ?/, '$1'))
  return before + after.join('\n')
}

describe('init in a folder with everything', () => {
  it('writes what loads, what doctor accepts, and what can be captured', async () => {
    await using folder = await wholeShop()
    const proxy = await new TestProxy().start()
    await using _stopped = { [Symbol.asyncDispose]: () => proxy.stop() }
    await folder.write('haproxy.cfg', await readFile(join(proxy.dir, 'haproxy.cfg'), 'utf8'))
    const ran = await folder.spawned('init')
    expect(ran.stderr).toBe('')
    expect(ran.code).toBe(0)
    const config = await load(folder)
    expect(config.environment).toBe('webshop')
    const kinds = Object.entries(config.components).map(
      ([id, c]) => `${id}: ${c.adapter.kind} (${c.dependsOn.join(' ')})`,
    )
    expect(kinds).toEqual([
      'db: sqlite ()',
      'env: env-file ()',
      'flags: flag-file ()',
      'config: git-config ()',
      'app: hosts (db env flags config)',
      'traffic: haproxy (app)',
    ])
    expect(config.components['db']?.settings).toMatchObject({
      migrations: { tool: 'knex', down: ['sh', '-c', 'npx knex migrate:down "$BACKOUT_MIGRATION"'], runIn: 'app' },
    })
    const before = await folder.doctor()
    expect(codes(before, 'problem')).toEqual([])
    expect(before).toMatchObject({ code: 0, accepted: true, next: ['backout capture RELEASE'] })
    expect(codes(before, 'warning')).toContain('never_captured')
    expect((await folder.run('capture', 'v2', '--known-good')).code).toBe(0)
    const after = await folder.doctor()
    expect(after).toMatchObject({ code: 0, accepted: true })
    expect(codes(after, 'warning')).not.toContain('never_captured')
  })

  it('says what it found and what to do next, within 80 columns, and shows no value of .env', async () => {
    await using folder = await wholeShop()
    const { stdout } = await folder.run('init')
    expect(stdout).toContain('SQLite database shared/shop.db, migrated by knex -> component db')
    expect(stdout).toContain('SQLite database test/fixture.db -> looks like a test or a copy: left out')
    expect(stdout).toContain('Git repository webshop (branch main, remote origin) -> environment webshop')
    expect(stdout).toMatch(/backout doctor .*\n.*backout capture RELEASE/)
    expect(stdout).not.toContain('.env.example')
    const wide = stdout.split('\n').filter(line => line.length > 80 && !line.includes(folder.dir))
    expect(wide).toEqual([])
    expect(stdout + (await readFile(folder.path('backout.yaml'), 'utf8'))).not.toContain('hush')
  })

  it('leaves nothing behind but the file and the line in .gitignore', async () => {
    await using folder = await wholeShop()
    const before = await readdir(folder.dir)
    const { stdout } = await folder.run('init', '--json')
    expect(JSON.parse(stdout)).toMatchObject({
      environment: 'webshop',
      components: ['db', 'env', 'flags', 'config', 'app'],
      gitignore: folder.path('.gitignore'),
      next: ['backout doctor', 'backout capture RELEASE'],
    })
    expect((await readdir(folder.dir)).filter(name => !before.includes(name))).toEqual(['.gitignore', 'backout.yaml'])
    expect(await readdir(folder.path('shared'))).toEqual(['shop.db'])
    expect(await readFile(folder.path('.gitignore'), 'utf8')).toBe('.backout/\n')
  })
})

describe('init in an empty folder', () => {
  it('writes an example that loads, is accepted, and refuses to act until it is filled in', async () => {
    await using folder = await Folder.make()
    expect((await folder.run('init')).stdout).toContain('an example to fill in')
    expect(await folder.doctor()).toMatchObject({ code: 0, accepted: true })
    await folder.write('VERSION', 'v1')
    await folder.run('capture', 'v1')
    await folder.write('VERSION', 'v2')
    expect((await folder.doctor()).code).toBe(0)
    const ran = await folder.spawned('run', '--to', 'v1', '--yes')
    expect(ran.code).not.toBe(0)
    expect(ran.stdout + ran.stderr).toContain('has no command yet')
    expect(await readFile(folder.path('VERSION'), 'utf8')).toBe('v2')
  })

  it('does without Git, and without a .gitignore then', async () => {
    await using folder = await Folder.make()
    const { stdout } = await folder.run('init', '--json')
    expect(JSON.parse(stdout)).toMatchObject({ environment: 'shop', gitignore: null })
    expect(await readdir(folder.dir)).toEqual(['backout.yaml'])
  })
})

describe('the file that is there', () => {
  it('is never overwritten without --force', async () => {
    await using folder = await Folder.make({ 'backout.yaml': 'mine' })
    const refused = await folder.run('init')
    expect(refused.code).toBe(2)
    expect(refused.stderr).toContain('config_exists')
    expect(await readFile(folder.path('backout.yaml'), 'utf8')).toBe('mine')
    expect((await folder.run('init', '--force')).code).toBe(0)
    expect((await load(folder)).environment).toBe('shop')
  })

  it('is not replaced where it came about meanwhile, and nothing is left beside it', async () => {
    await using folder = await Folder.make({ 'backout.yaml': 'mine' })
    const text = compose(await survey(folder.dir, nowhere(folder)))
    await expect(writeConfig(folder.path('backout.yaml'), text, false)).rejects.toThrow('is there already')
    expect(await readFile(folder.path('backout.yaml'), 'utf8')).toBe('mine')
    expect(await readdir(folder.dir)).toEqual(['backout.yaml'])
  })

  it('goes where --config says, and a folder that is not there is named', async () => {
    await using folder = await Folder.make()
    expect((await folder.run('init', '--config', 'ops/backout.yaml')).stderr).toContain(
      `mkdir -p ${folder.path('ops')}`,
    )
    await mkdir(folder.path('ops'))
    expect((await folder.run('init', '--config', 'ops/backout.yaml')).code).toBe(0)
    expect((await stat(folder.path('ops/backout.yaml'))).isFile()).toBe(true)
  })

  it('leaves a .gitignore that already does alone, and adds to one that does not end in a newline', async () => {
    await using done = await Folder.make({ '.gitignore': '.backout\n' })
    done.git('init', '-q')
    await done.run('init')
    expect(await readFile(done.path('.gitignore'), 'utf8')).toBe('.backout\n')
    await using open = await Folder.make({ '.gitignore': 'node_modules' })
    open.git('init', '-q')
    await open.run('init')
    expect(await readFile(open.path('.gitignore'), 'utf8')).toBe('node_modules\n.backout/\n')
  })
})

function nowhere(folder: Folder): Machine {
  const units = join(folder.root, 'units')
  return {
    unitFolders: [units],
    kubeConfigs: [join(folder.root, 'kube')],
    haproxyConfigs: [],
    nginxFolders: [join(folder.root, 'nginx')],
  }
}

describe('what does not answer, or has no adapter', () => {
  it('stands there as a comment that loads once the # is taken away', async () => {
    await using folder = await Folder.make({
      'haproxy.cfg':
        'global\n stats socket /run/nobody.sock level admin\nbackend web\n server a 127.0.0.1:1\n server sorry 127.0.0.1:2\n',
    })
    await folder.database('shop.db', 'CREATE TABLE t (x)')
    const text = compose(await survey(folder.dir, nowhere(folder)))
    expect(text).toContain('# Found, but not live:')
    expect(text).toContain('/run/nobody.sock')
    const taken = text.replaceAll(
      /^ {2}# ( *(?:traffic:|adapter:|dependsOn:|settings:|socket:|backend:|maintenance:|app:|identity:|observe:|printf|apply:|echo|verify:|test|serves:|stopped:).*)$/gm,
      '  $1',
    )
    await folder.write('backout.yaml', taken)
    const config = await load(folder)
    expect(Object.keys(config.components)).toEqual(['db', 'app', 'traffic'])
    expect(config.components['traffic']).toMatchObject({
      dependsOn: ['db'],
      settings: { backend: 'web', maintenance: 'sorry', socket: '/run/nobody.sock' },
    })
  })

  it('shows probes, gates and a policy that load once the # is taken away', async () => {
    await using folder = await Folder.make()
    const text = compose(await survey(folder.dir, nowhere(folder)))
    await folder.write('backout.yaml', uncommented(text, '# probes:'))
    const { policy, gates, probes } = await load(folder)
    expect(Object.keys(probes)).toEqual(['health'])
    expect(Object.keys(gates)).toEqual(['healthy'])
    expect(policy).toMatchObject({ verify: ['healthy'], watch: { gates: ['healthy'] }, bake: { for: 600_000 } })
  })

  it('is said plainly: compose, Kubernetes, systemd, nginx, other databases', async () => {
    await using folder = await Folder.make({
      'compose.yaml': 'services:\n  web: { image: "nginx:1" }\n  worker: {}\n',
      'k8s/web.yaml': 'apiVersion: apps/v1\nkind: Deployment\n',
      'package.json': '{"dependencies":{"pg":"8"},"devDependencies":{"prisma":"6"}}',
      'db/migrations/1.sql': '',
      '../kube': 'current-context: eu1\ncontexts: [{ name: eu1 }, { name: us1 }]\n',
      '../nginx/shop': 'server { root ROOT/public; }',
    })
    await folder.write('../nginx/shop', `server { root ${folder.dir}/public; }`)
    await folder.write('../units/shop.service', `[Service]\nWorkingDirectory=${folder.dir}\n`)
    await folder.write('../units/other.service', `[Service]\nWorkingDirectory=${folder.dir}-two\n`)
    const found = await survey(folder.dir, nowhere(folder))
    expect(found.seen.map(s => s.what)).toEqual([
      'PostgreSQL (pg in package.json)',
      'migration tool in package.json: prisma',
      'migrations in db/migrations/',
      'Docker Compose: compose.yaml',
      'Kubernetes: contexts eu1 (current), us1; manifests k8s/web.yaml',
      'systemd unit shop.service',
      `nginx: ${join(folder.root, 'nginx/shop')}`,
    ])
    const text = compose(found)
    expect(text).toContain('# Found too, and NOT taken back by this file:')
    expect(text).toContain('services: web (nginx:1), worker')
    expect(text).toContain('docs/adapters/postgres.md')
    expect(text).toMatch(/^# +adapter: postgres\n# +settings:\n# +host: 127\.0\.0\.1$/m)
    await folder.write('backout.yaml', text)
    expect(Object.keys((await load(folder)).components)).toEqual(['app'])
  })

  it('lets a unit start and stop the releases behind a link', async () => {
    await using folder = await Folder.make({ 'releases/v1/x': '' })
    await symlink(folder.path('releases/v1'), folder.path('current'))
    await folder.write('../units/shop.service', `[Service]\nExecStart=${folder.dir}/current/run\n`)
    const found = await survey(folder.dir, nowhere(folder))
    expect(found.candidates).toMatchObject([
      { id: 'app', held: null, settings: { service: { systemd: 'shop.service' } } },
    ])
    expect(found.paragraphs).toEqual([])
  })

  it('holds back a link that leads nowhere', async () => {
    await using folder = await Folder.make({ 'releases/v1/x': '' })
    await symlink('releases/gone', folder.path('current'))
    const found = await survey(folder.dir, nowhere(folder))
    expect(found.candidates).toMatchObject([{ id: 'app', held: expect.stringContaining('current leads to no folder') }])
  })

  it('finds two slots behind a link', async () => {
    await using folder = await Folder.make({ 'blue/RELEASE': 'v1\n', 'green/RELEASE': 'v2\n' })
    await symlink('green', folder.path('live'))
    const found = await survey(folder.dir, nowhere(folder))
    expect(found.candidates).toMatchObject([{ id: 'app', held: null, settings: { strategy: 'blue-green' } }])
  })

  it('goes by what is in a file, not by its name, and survives files that are broken', async () => {
    await using folder = await Folder.make({
      'shop.db': 'no database',
      'empty.sqlite': '',
      'feature-list.json': '{"a":1}',
      'toggles.yaml': 'new: true\nold: false\n',
      'package.json': '{',
      'compose.yaml': 'services: [',
      'haproxy.cfg': 'backend',
      '../kube': ': :\n  - }',
    })
    await folder.database('real.sqlite3', 'CREATE TABLE t (x)')
    const found = await survey(folder.dir, nowhere(folder))
    expect(found.candidates.map(c => [c.id, c.held, c.settings])).toEqual([
      ['db', null, { path: 'real.sqlite3' }],
      ['flags', null, { path: 'toggles.yaml', format: 'yaml' }],
    ])
  })

  it('gives several of a kind a name each', async () => {
    await using folder = await Folder.make({
      '.env': 'A=1\n',
      '.env.production': 'A=2\n',
      'sub/.env': '',
      '.env.test': '',
    })
    await folder.database('shop.db', 'CREATE TABLE t (x)')
    await folder.database('data/shop.db', 'CREATE TABLE t (x)')
    const found = await survey(folder.dir, nowhere(folder))
    expect(found.candidates.map(c => `${c.id}: ${String(c.settings['path'])}`)).toEqual([
      'db-shop: data/shop.db',
      'db-shop-2: shop.db',
      'env: .env',
      'env-production: .env.production',
      'env-sub: sub/.env',
    ])
    await folder.write('backout.yaml', compose(found))
    expect(Object.keys((await load(folder)).components)).toHaveLength(5)
  })

  it('finds a repository of configuration inside the folder', async () => {
    await using folder = await Folder.make({ 'etc/checkout.json': '{}' })
    folder.git('init', '-q', 'etc')
    folder.git('-C', 'etc', 'add', '.')
    folder.git('-C', 'etc', 'commit', '-qm', 'first')
    const found = await survey(folder.dir, nowhere(folder))
    expect(found.candidates).toMatchObject([{ id: 'config', held: null, settings: { repository: 'etc', to: 'etc' } }])
    await folder.write('backout.yaml', compose(found))
    expect((await folder.run('doctor')).code).toBe(0)
    expect((await folder.run('capture', 'v1')).code).toBe(0)
  })
})

describe('reading what others wrote', () => {
  it('takes the socket that may change something, and backends that have servers', () => {
    const parsed = parseHaproxy(
      'global\n stats socket ipv4@127.0.0.1:1\n stats socket unix@/run/a.sock mode 600 level admin # x\nbackend empty\nlisten l\n server s 1.1.1.1:1\nfrontend f\n server no 1:1\n',
    )
    expect(parsed).toEqual({ socket: '/run/a.sock', admin: true, backends: [{ name: 'l', servers: ['s'] }] })
  })

  it('tells a folder from one whose name begins alike', () => {
    expect(mentions('WorkingDirectory=/srv/shop\n', '/srv/shop')).toBe(true)
    expect(mentions('ExecStart=/srv/shop/run', '/srv/shop')).toBe(true)
    expect(mentions('ExecStart=/srv/shop-two/run', '/srv/shop')).toBe(false)
  })
})
