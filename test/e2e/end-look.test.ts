import { chmod, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, describe, expect, it } from 'vitest'
import { commandLine } from '../support/command-line.ts'
import { type Releases, releases } from '../support/releases.ts'
import { makeToy } from '../support/toy.ts'

describe('what a run says at its end is what is there then', () => {
  it('names what is on the bad release again, and is no success', async () => {
    await using toy = await makeToy(`hooks: { cleanup: { after: { run: 'echo v2 > db' } } }`)
    expect((await toy.backout(['capture', 'v1', '--known-good'])).code).toBe(0)
    await toy.release('v2')
    const run = await toy.backout(['run', '--yes'])
    expect(run.code).toBe(9)
    expect(run.stdout).toContain('it is not all on v1: db would still go from "v2" to "v1"')
    expect(run.stdout).not.toContain('verified.')
    expect((await toy.backout(['report'])).stdout).toContain('NOT taken back')
    await toy.write('backout.yaml', (await toy.read('backout.yaml')).replace(/^hooks:.*$/m, ''))
    expect((await toy.backout(['run', '--yes'])).stdout).toContain('toy is back on v1, verified.')
  })

  it('is not forgotten where somebody aborts since the look goes on', async () => {
    await using toy = await makeToy(`hooks: { cleanup: { after: { run: 'echo v2 > db; touch ended' } } }`)
    // The second look waits until the abort is heard.
    const second = 'test -e ended && echo >> looks && test $(wc -l < looks) -gt 1'
    const slow = `${second} && for i in $(seq 200); do test -e go || sleep 0.1; done; printf "{`
    await toy.write('backout.yaml', (await toy.read('backout.yaml')).replace('printf "{', slow))
    expect((await toy.backout(['capture', 'v1', '--known-good'])).code).toBe(0)
    await toy.release('v2')
    const run = toy.backout(['run', '--yes'])
    const running = async () =>
      (await toy.json<{ running?: { title: string }[] }>(['status'])).running?.map(r => r.title).join()
    const sees = 'looking at all of it once more, for it is not all there: db would still go from "v2" to "v1"'
    await expect.poll(running, { timeout: 60_000, interval: 100 }).toContain(sees)
    const aborted = toy.backout(['abort'])
    const report = async () => (await toy.backout(['report'])).stdout
    await expect.poll(report, { timeout: 60_000, interval: 100 }).toContain('abort asked')
    await toy.write('go', '')
    expect((await aborted).code).toBe(7)
    const { stdout } = await run
    for (const said of [stdout, (await toy.backout(['status'])).stdout, (await toy.backout(['report'])).stdout])
      expect(said.replaceAll(/\s+/g, ' ')).toContain('it is not all on v1: db would still go from "v2" to "v1"')
    expect(stdout).not.toContain('Users are served')
  })

  it('names the field that differs and is no version, where the way back itself moves what is compared', async () => {
    await using toy = await makeToy(`hooks: { cleanup: { after: { run: 'echo x >> revision' } } }`)
    await toy.write('revision', '')
    const config = await toy.read('backout.yaml')
    const whole = 'printf "{\\"state\\":\\"%s\\",\\"summary\\":\\"%s\\"}" "$(cat app)" "$(cat app)"'
    const fields = '{\\"image\\":\\"%s\\",\\"revision\\":%s}'
    const counting = config.replace(
      whole,
      `printf "{\\"state\\":${fields},\\"summary\\":\\"%s\\"}" "$(cat app)" "$(wc -l < revision)" "$(cat app)"`,
    )
    expect(counting).not.toBe(config)
    await toy.write('backout.yaml', counting)
    expect((await toy.backout(['capture', 'v1', '--known-good'])).code).toBe(0)
    await toy.write('db', 'v2\n')
    const run = await toy.backout(['run', '--yes'])
    expect(run.code).toBe(9)
    expect(run.stdout).toContain('app would still go from "v1 with another revision" to "v1"')
    const plan = await toy.backout(['plan'])
    expect(plan.stdout).toContain('app reads "v1" as it did then, with another revision')
    expect(plan.stdout).toContain('leave it out of `state`')
  })

  it('is verified without the data, where a backup was put in its place and users write again', async () => {
    await using toy = await makeToy(`hooks: { cleanup: { after: { run: './write.sh' } } }`)
    const file = join(toy.folder, 'shop.db')
    const insert = () => {
      const db = new DatabaseSync(file)
      db.exec('CREATE TABLE IF NOT EXISTS visits (id INTEGER PRIMARY KEY); INSERT INTO visits DEFAULT VALUES')
      db.close()
    }
    insert()
    const config = await toy.read('backout.yaml')
    const shop = `  shop: { adapter: sqlite, settings: { path: shop.db, rungs: [restore], writers: none } }\n`
    await toy.write('backout.yaml', config.replace('probes:', `${shop}probes:`))
    const write = `const { DatabaseSync } = require('node:sqlite'); new DatabaseSync('shop.db').exec('INSERT INTO visits DEFAULT VALUES')`
    await toy.write('write.sh', `#!/bin/sh\n'${process.execPath}' -e "${write}"\n`)
    await chmod(join(toy.folder, 'write.sh'), 0o755)
    const capture = await toy.backout(['capture', 'v1', '--known-good'])
    expect(capture).toMatchObject({ code: 0, stderr: '' })
    await toy.release('v2')
    insert()
    const run = await toy.backout(['run', '--yes', '--to', 'v1', '--loss-window', '1h'])
    expect({ code: run.code, stderr: run.stderr }).toEqual({ code: 0, stderr: '' })
    expect(run.stdout).toContain('toy is back on v1, verified.')
    expect(run.stdout).toContain('ok shop/restore/swap')
    // The first, what the bad release wrote and was brought back, and what came once users were back.
    const db = new DatabaseSync(file, { readOnly: true })
    expect(db.prepare('SELECT count(*) AS n FROM visits').get()).toEqual({ n: 3 })
    db.close()
  })
})

describe('a host that comes back in the middle of a run', () => {
  let shop: Releases
  afterEach(() => shop.dispose())

  it('is stopped again before the data that it would write into is replaced', { timeout: 120_000 }, async () => {
    shop = await releases(['local'])
    const line = commandLine(shop.dir)
    for (const v of ['v1', 'v2']) await shop.unpack('local', `releases/${v}`, v)
    const deploy = async (release: string) => {
      await shop.link('local', 'current', `releases/${release}`)
      shop.call('local', 'stop', 'current')
      shop.call('local', 'start', 'current')
    }
    const alter = (sql: string) => {
      const db = new DatabaseSync(join(shop.dir, 'shop.db'))
      db.exec(sql)
      db.close()
    }
    const script = async (name: string, text: string) => {
      await writeFile(join(shop.dir, name), `#!/bin/sh\n${text}\n`)
      await chmod(join(shop.dir, name), 0o755)
    }
    const service = `${shop.dir}/service.sh`
    await script(
      'reboot.sh',
      `cd ${shop.path('local', 'current')} && ${service} start ${shop.path('local')}/run. >/dev/null 2>&1`,
    )
    await script('look.sh', `${service} status ${shop.path('local')}/run. && echo runs >seen || echo stopped >seen`)
    const db = { adapter: 'sqlite', settings: { path: 'shop.db', compatible: 'never', rungs: ['restore'] } }
    const app = {
      adapter: 'hosts',
      dependsOn: ['db'],
      settings: {
        hosts: ['local'],
        root: shop.root,
        service: shop.service,
        version: shop.version,
        limits: { settle: '0s', start: '8s', stop: '8s' },
      },
    }
    const hooks = { backup: { after: { run: ['./reboot.sh'] } }, data: { before: { run: ['./look.sh'] } } }
    await writeFile(
      join(shop.dir, 'backout.yaml'),
      JSON.stringify({ environment: 'shop', components: { db, app }, hooks }),
    )
    alter('CREATE TABLE orders (id INTEGER PRIMARY KEY, total NUMERIC); INSERT INTO orders (total) VALUES (10)')
    await deploy('v1')
    expect((await line.backout(['capture', 'v1', '--known-good'])).code).toBe(0)
    alter('ALTER TABLE orders RENAME COLUMN total TO cents')
    await deploy('v2')
    const run = await line.backout(['run', '--yes', '--to', 'v1', '--loss-window', '1h'])
    expect({ code: run.code, stderr: run.stderr }).toEqual({ code: 0, stderr: '' })
    expect(run.stdout).toContain('"stop local" does not hold any more: it runs; it is seen to again')
    expect(await readFile(join(shop.dir, 'seen'), 'utf8')).toBe('stopped\n')
    expect(shop.running('local')).toBe('v1')
    expect((await line.backout(['report'])).stdout).toContain('does not hold any more')
  })
})
