import { once } from 'node:events'
import { appendFile, chmod, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, it } from 'vitest'
import { type Answer, codes, Folder, KNEX } from './folder.fixture.ts'

/** An application of one command: its version is what stands in VERSION. */
const APP = `  app:
    adapter: command
    dependsOn: [db]
    settings:
      identity: app
      observe: printf '{"state":"%s"}' "$(cat VERSION)"
      apply: ./deploy
      verify: test "$(cat VERSION)" = "$(echo "$BACKOUT_STATE" | tr -d '"')"
      serves: { stopped: { apply: ./deploy, verify: 'true', undo: { apply: ./deploy, verify: 'true' } } }
`
const DB = `  db:
    adapter: sqlite
    settings: { path: shop.db, migrations: { down: ./deploy } }
`
const BASE = `environment: shop\ncomponents:\n${DB}${APP}`

async function shop(yaml = BASE): Promise<Folder> {
  const folder = await Folder.make({ 'backout.yaml': yaml, VERSION: 'v1' })
  await folder.write('deploy', '#!/bin/sh\necho v1 > VERSION\n', 0o755)
  await folder.database('shop.db', KNEX)
  return folder
}

function find({ checks }: Answer, code: string) {
  return checks.find(c => c.code === code)
}

describe('a file that does not load', () => {
  it('is shown as every other command shows it, with exit code 2', async () => {
    await using folder = await shop(BASE.replace('path:', 'pth:'))
    const doctor = await folder.run('doctor')
    const plan = await folder.run('plan')
    expect(doctor.code).toBe(2)
    expect(doctor.stderr).toContain('did you mean "path"?')
    expect(doctor.stderr).toBe(plan.stderr)
    const missing = await folder.run('doctor', '--config', 'nope.yaml')
    expect(missing).toMatchObject({ code: 2 })
    expect(missing.stderr).toContain('backout init writes one')
  })
})

describe('what is missing', () => {
  it('F: names a secret that cannot be read, with how to get it, and asks nobody with half of it', async () => {
    await using folder = await shop(`${BASE}      env: { TOKEN: '\${env:SHOP_TOKEN}', OTHER: '\${file:secret.txt}' }\n`)
    const answer = await folder.doctor()
    expect(answer).toMatchObject({ code: 3, accepted: false })
    const secrets = answer.checks.filter(c => c.code === 'secret_missing')
    expect(secrets.map(c => c.what)).toEqual([
      'backout.yaml:15:21 components.app.settings.env.TOKEN: the environment variable SHOP_TOKEN is not set',
      expect.stringContaining('secret.txt'),
    ])
    expect(codes(answer, 'note')).toContain('not_asked')
    expect(find(answer, 'observed')).toBeUndefined()
    folder.env['SHOP_TOKEN'] = 'hush-hush'
    await folder.write('secret.txt', 'hush-too')
    const ran = await folder.run('doctor')
    expect(ran.code).toBe(0)
    expect(ran.stdout).toContain('${env:SHOP_TOKEN}')
    expect(ran.stdout).not.toContain('hush')
  })

  it('names programs that components, hooks and probes call', async () => {
    const more = `hooks: { announce: { before: { run: [no-such-pager, now] } } }
probes: { smoke: { kind: command, run: 'no-such-smoke --all' } }
`
    await using folder = await shop(BASE + more)
    await rm(folder.path('deploy'))
    const answer = await folder.doctor()
    expect(answer.code).toBe(3)
    const gone = answer.checks.filter(c => c.code === 'program_missing').map(c => [c.level, c.what])
    expect(gone).toEqual([
      ['problem', './deploy is not there, or may not be run; db, app call it'],
      ['problem', 'no-such-pager is not there, or may not be run; hook before announce calls it'],
      ['warning', 'no-such-smoke is not there, or may not be run; probe smoke calls it'],
    ])
  })

  it('names a gate that a component asks and that is not defined, and what nothing asks', async () => {
    const yaml = `${BASE.replace('undo: { apply: ./deploy,', 'undo: { gate: wel, apply: ./deploy,')}probes:
  here: { kind: command, run: 'true' }
  alone: { kind: command, run: 'true' }
gates: { well: { probes: [here] } }
`
    await using folder = await shop(yaml)
    const answer = await folder.doctor()
    expect(find(answer, 'gate_unknown')).toMatchObject({ level: 'problem', component: 'app' })
    expect(codes(answer, 'note')).toEqual(expect.arrayContaining(['gate_unused', 'probe_unused', 'watch_missing']))
    expect(find(answer, 'verify_empty')).toMatchObject({ level: 'warning' })
  })

  it('names a component that cannot be asked or is not there, and goes on with the others', async () => {
    const yaml = `${BASE.replace('$(cat VERSION)"\n      apply', '$(cat VERSION)"; exit 4\n      apply')}  env: { adapter: env-file, settings: { path: .env } }
  flags: { adapter: flag-file, settings: { path: VERSION, format: flagd } }
  other: { adapter: sqlite, settings: { path: nope.db, writers: none } }
`
    await using folder = await shop(yaml)
    const answer = await folder.doctor()
    expect(answer.code).toBe(3)
    const problems = answer.checks.filter(c => c.level === 'problem').map(c => `${c.component}: ${c.code}`)
    expect(problems.toSorted()).toEqual([
      'app: cannot_observe',
      'env: file_missing',
      'flags: flags_unreadable',
      'other: database_missing',
    ])
    expect(answer.checks.filter(c => c.code === 'observed').map(c => c.component)).toEqual(['db'])
    for (const check of answer.checks.filter(c => c.level === 'problem')) expect(check.remedy).not.toBe('')
  })

  it('says of a database what ways back it lacks', async () => {
    await using folder = await shop(
      `environment: shop\ncomponents:\n  db: { adapter: sqlite, settings: { path: shop.db } }\n`,
    )
    const answer = await folder.doctor()
    expect(answer.code).toBe(0)
    expect(find(answer, 'no_down_command')?.remedy).toContain('npx knex migrate:down')
    expect(find(answer, 'writers_unknown')).toMatchObject({ level: 'warning', component: 'db' })
  })

  it('asks each probe once: what fails now is a warning', async () => {
    const server = createServer((_, res) => res.end('ok')).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    await using folder = await shop(`${BASE}probes:
  up: { kind: http, url: 'http://127.0.0.1:${port}/' }
  down: { kind: http, url: 'http://127.0.0.1:1/' }
  blind: { kind: sqlite, path: nope.db, query: select 1, expect: { value: 1 } }
gates: { all: { probes: [up, down, blind] } }
policy: { verify: [all] }
`)
    const answer = await folder.doctor()
    server.close()
    const asked = answer.checks.filter(c => c.area === 'probes').map(c => `${c.level}: ${c.what.split(' ')[0]}`)
    expect(asked).toEqual(['ok: up:', 'warning: down', 'warning: blind'])
    expect(answer.code).toBe(0)
    expect(find(answer, 'verify_empty')).toBeUndefined()
  })
})

describe('where it lives', () => {
  it('warns of a home that Git would take in, that others can read, or that a restart empties', async () => {
    await using folder = await shop()
    folder.git('init', '-q')
    await folder.run('capture', 'v1')
    await chmod(folder.path('.backout'), 0o755)
    const answer = await folder.doctor()
    expect(codes(answer, 'warning')).toEqual(
      expect.arrayContaining(['home_not_ignored', 'home_open', 'home_temporary', 'no_known_good']),
    )
    expect(find(answer, 'home_open')?.remedy).toBe(`chmod 700 ${folder.path('.backout')}`)
    expect(find(answer, 'lock_local')?.level).toBe('note')
    folder.git('remote', 'add', 'origin', 'https://example.org/shop.git')
    expect(find(await folder.doctor(), 'lock_local')?.level).toBe('warning')
  })

  it('looks at the keys: their rights, their age, and whether they are those of this home', async () => {
    await using folder = await shop()
    await folder.run('capture', 'v1')
    expect(find(await folder.doctor(), 'keys')?.level).toBe('ok')
    const [name = ''] = await readdir(join(folder.root, 'keys'))
    const key = join(folder.root, 'keys', name, 'vault.key')
    await chmod(key, 0o644)
    expect(find(await folder.doctor(), 'key_open')).toMatchObject({ level: 'warning', remedy: `chmod 600 ${key}` })
    folder.env['BACKOUT_KEYS'] = join(folder.root, 'others')
    const answer = await folder.doctor()
    expect(answer.code).toBe(3)
    expect(codes(answer, 'problem')).toEqual(['other_chain_key'])
  })

  it('says where nothing can be written', async () => {
    await using folder = await shop(`${BASE}home: VERSION/home\n`)
    const answer = await folder.doctor()
    expect(answer.code).toBe(3)
    expect(codes(answer, 'problem')).toEqual(['home_not_writable'])
  })
})

describe('releases, and the way back', () => {
  it('accepts a folder without any capture, and says what to do next', async () => {
    await using folder = await shop()
    const answer = await folder.doctor()
    expect(answer).toMatchObject({ code: 0, accepted: true, next: ['backout capture RELEASE'] })
    expect(find(answer, 'never_captured')).toMatchObject({ level: 'warning' })
    expect((await folder.run('doctor')).stdout).toMatch(/cannot be taken back\s+before that/)
  })

  it('shows the way back, the age of the newest known-good release, and its proven backup', async () => {
    await using folder = await shop()
    await folder.run('capture', 'v1', '--known-good')
    await folder.write('VERSION', 'v2')
    const answer = await folder.doctor()
    expect(answer).toMatchObject({ code: 0, next: ['backout plan --to v1'] })
    expect(find(answer, 'known_good')?.what).toContain('v1, captured just now')
    expect(find(answer, 'backup')?.what).toContain('intact and proven')
    expect(find(answer, 'way_back')?.what).toContain('the way back to v1 is free: app (command)')
    expect(codes(answer, 'warning')).toEqual(['home_temporary', 'verify_empty'])
  })

  it('names a backup that was altered, and one that is gone', async () => {
    await using folder = await shop()
    await folder.run('capture', 'v1', '--known-good')
    const [id = ''] = await readdir(folder.path('.backout/environments/shop/backups/db'))
    const files = await readdir(folder.path(`.backout/environments/shop/backups/db/${id}`))
    const content = files.find(name => name !== 'backup.json') ?? ''
    await appendFile(folder.path(`.backout/environments/shop/backups/db/${id}/${content}`), 'x')
    expect(find(await folder.doctor(), 'backup_altered')).toMatchObject({ level: 'problem', component: 'db' })
    await rm(folder.path(`.backout/environments/shop/backups/db/${id}`), { recursive: true })
    const answer = await folder.doctor()
    expect(answer.code).toBe(3)
    expect(codes(answer, 'problem')).toContain('backup_missing')
  })

  it('calls a plan that is blocked a problem, with what is wrong with every way back', async () => {
    await using folder = await shop(
      `environment: shop\ncomponents:\n  db: { adapter: sqlite, settings: { path: shop.db } }\n`,
    )
    await folder.run('capture', 'v1', '--known-good')
    await folder.database(
      'shop.db',
      `DROP TABLE orders; INSERT INTO knex_migrations (name, batch) VALUES ('002.js', 2)`,
    )
    const answer = await folder.doctor()
    expect(answer).toMatchObject({ code: 3, next: ['mend these, then: backout doctor'] })
    expect(codes(answer, 'problem')).toEqual(['schema_not_compatible'])
    const rejected = answer.checks.filter(c => c.code === 'rung_rejected').map(c => c.what.split(':')[1])
    expect(rejected).toEqual([' not by `migrate-down`', ' not by `restore`'])
    expect(find(answer, 'way_back')).toBeUndefined()
  })

  it('tells once what two checks find', async () => {
    await using folder = await shop(BASE.replace(/      verify: test.*\n/, ''))
    await folder.run('capture', 'v1', '--known-good')
    await folder.write('VERSION', 'v2')
    const answer = await folder.doctor()
    expect(answer.checks.filter(c => c.code === 'no_verify').map(c => c.area)).toEqual(['configuration'])
    expect(find(answer, 'way_back')).toMatchObject({ level: 'ok' })
  })

  it('warns of a component that the newest release does not hold, and of an upgrade that never ended', async () => {
    await using folder = await shop()
    await folder.run('upgrade', 'begin', 'v2', '--from', 'v1')
    await folder.write('backout.yaml', `${BASE}  env: { adapter: env-file, settings: { path: VERSION } }\n`)
    const answer = await folder.doctor()
    expect(find(answer, 'component_uncaptured')).toMatchObject({ level: 'warning', component: 'env' })
    expect(answer.checks.filter(c => c.code === 'upgrade_open')).toMatchObject([
      { level: 'warning', area: 'runs', remedy: 'once it has: backout upgrade end v2' },
    ])
  })
})

describe('journal and runs', () => {
  it('finds a run whose process was killed: nothing is lost, backout resume', async () => {
    await using folder = await shop()
    await folder.run('capture', 'v1', '--known-good')
    await folder.write('VERSION', 'v2')
    await folder.write('deploy', '#!/bin/sh\ntouch begun\nsleep 60\n', 0o755)
    const child = folder.start('run', '--to', 'v1', '--yes')
    while (!(await readdir(folder.dir)).includes('begun')) await new Promise(done => setTimeout(done, 20))
    const during = await folder.doctor()
    expect(find(during, 'run_open')).toMatchObject({ level: 'warning' })
    child.kill('SIGKILL')
    await once(child, 'exit')
    const answer = await folder.doctor()
    expect(answer).toMatchObject({ code: 3, next: ['backout resume'] })
    expect(find(answer, 'run_interrupted')).toMatchObject({ level: 'problem' })
  })

  it('finds a journal that was rewritten', async () => {
    await using folder = await shop()
    await folder.run('capture', 'v1', '--known-good')
    expect(find(await folder.doctor(), 'journal')).toMatchObject({ level: 'ok' })
    const db = new DatabaseSync(folder.path('.backout/journal.db'))
    db.exec(`UPDATE events SET data = replace(data, 'v1', 'v0')`)
    db.close()
    const answer = await folder.doctor()
    expect(answer.code).toBe(3)
    expect(find(answer, 'journal_tampered')).toMatchObject({ level: 'problem' })
  })

  it('goes on where a release was altered', async () => {
    await using folder = await shop()
    await folder.run('capture', 'v1')
    const captures = folder.path('.backout/environments/shop/releases/v1/captures')
    const [name = ''] = await readdir(captures)
    const text = await readFile(join(captures, name), 'utf8')
    await writeFile(join(captures, name), text.replace('"shop"', '"ship"'))
    const answer = await folder.doctor()
    expect(codes(answer, 'problem')).toEqual(['release_altered'])
    expect(find(answer, 'journal')).toMatchObject({ level: 'ok' })
  })
})

it('fits 80 columns as a process of its own', async () => {
  await using folder = await shop()
  await folder.run('capture', 'v1')
  const { code, stdout } = await folder.spawned('doctor')
  expect(code).toBe(0)
  const wide = stdout
    .split('\n')
    .filter(line => line.length > 80 && line.trim().includes(' ') && !line.includes(folder.dir))
  expect(wide).toEqual([])
  expect(stdout).toContain('This machine\n  ok       Node ')
})
