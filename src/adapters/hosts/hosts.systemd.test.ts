import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { ordered, stepAct } from '../../../test/conformance/walk.ts'
import { type CommandLine, commandLine } from '../../../test/support/command-line.ts'
import { captured, codes, openHosts, proposed, stepOf, until } from '../../../test/support/hosts.ts'
import { noSystemdHosts, type SystemdHosts, systemdHosts } from '../../../test/support/systemd-hosts.ts'
import type { Target } from '../../core/contract.ts'
import type { HostsPin } from './pin.ts'
import { deploy, FILES, runs, SERVICE, upgrade, VERSION } from './systemd.fixture.ts'

const NAMES = ['web-1', 'web-2', 'web-3']
const LIMITS = { connect: '2s', status: '2s', switch: '1s', start: '5s', stop: '5s' }
const BAD = 'v1.3.0'
const GOOD = 'v1.2.9'
const skipped = noSystemdHosts()

describe.skipIf(skipped !== null)(`C7: hosts with systemd${skipped === null ? '' : ` (skipped: ${skipped})`}`, () => {
  let fleet: SystemdHosts
  let dir: string
  let line: CommandLine

  beforeAll(async () => {
    fleet = await systemdHosts(NAMES, FILES)
    // The root file system is made the first time.
  }, 400_000)
  afterAll(() => fleet.dispose())
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'backout-systemd-'))
    line = commandLine(dir)
    await Promise.all(NAMES.map(name => deploy(fleet, name, GOOD, BAD)))
  })
  afterEach(async () => {
    await Promise.all(NAMES.map(name => fleet.root(name, 'rm -rf /srv/shop')))
    await rm(dir, { recursive: true, force: true })
  })

  const settings = (more: object = {}) => ({
    hosts: NAMES,
    sshConfig: fleet.config,
    root: '/srv/shop',
    service: SERVICE,
    version: VERSION,
    limits: { ...LIMITS, settle: '500ms' },
    ...more,
  })
  const configure = (more: object) =>
    writeFile(
      join(dir, 'backout.yaml'),
      JSON.stringify({
        environment: 'production',
        policy: { onFailure: 'stop' },
        components: { shop: { adapter: 'hosts', settings: settings(more) } },
        probes: { go: { kind: 'command', run: 'test -e go' } },
        gates: { go: { probes: ['go'], attempts: 600, interval: '100ms' } },
      }),
    )
  const all = () => Promise.all(NAMES.map(name => runs(fleet, name)))
  const open = (more: object = {}): Promise<Target<HostsPin>> => openHosts(dir, settings({ hosts: ['web-1'], ...more }))

  it('C1, E5: goes back in batches, fences a host that vanishes in the middle, lists it, and brings it back later', async () => {
    await configure({ maxFailures: 1, batchGate: 'go', fence: 'echo {host} >>fenced' })
    expect((await line.backout(['capture', GOOD, '--known-good'])).stderr).toBe('')
    await Promise.all(NAMES.map(name => upgrade(fleet, name, BAD)))
    expect(await all()).toEqual(NAMES.map(() => `active ${BAD}`))

    const running = line.backout(['run', '--yes', '--to', GOOD])
    await until('the first host is back', async () => (await runs(fleet, 'web-1')) === `active ${GOOD}`)
    await fleet.pause('web-2')
    await writeFile(join(dir, 'go'), '')
    const run = await running
    expect({ code: run.code, stderr: run.stderr }).toEqual({ code: 0, stderr: '' })
    expect(run.stdout).toContain('but not all of it: shop/switch/web-2')
    expect(await readFile(join(dir, 'fenced'), 'utf8')).toBe('web-2\n')
    const report = await line.json<{ steps: { id: string; state: string }[] }>(['report'])
    expect(report.steps.map(s => [s.id, s.state])).toEqual([
      ['shop/switch/web-1', 'done'],
      ['shop/restart/web-1', 'done'],
      ['shop/switch/web-2', 'fenced'],
      ['shop/switch/web-3', 'done'],
      ['shop/restart/web-3', 'done'],
    ])

    const silent = await line.backout(['status'])
    expect(silent.stdout).toContain('still fenced: shop/switch/web-2')
    expect(await readFile(join(dir, 'fenced'), 'utf8')).toBe('web-2\n')
    await fleet.unpause('web-2')
    expect(await all()).toEqual([`active ${GOOD}`, `active ${BAD}`, `active ${GOOD}`])
    const back = await line.backout(['status'])
    expect(back.stdout.replaceAll(/\s+/g, ' ')).toMatch(
      /back, and not on the release: shop\/switch\/web-2: .*; kept away from users again; bring it back: backout run --to \S+/,
    )
    expect(await readFile(join(dir, 'fenced'), 'utf8')).toBe('web-2\nweb-2\n')
    expect((await line.backout(['run', '--yes', '--to', GOOD])).code).toBe(0)
    expect(await all()).toEqual(NAMES.map(() => `active ${GOOD}`))
    expect((await line.backout(['status'])).stdout).not.toContain('web-2')
  })

  it('sends a canary first; a host that is cut off then is fenced, one that was rebooted is brought back', async () => {
    const more = { batch: [1, '100%'], stopAt: 2, batchGate: 'go', fence: 'echo {host} >>fenced' }
    await configure({ ...more, hosts: { command: `printf 'web-%s\\n' 1 2 3` } })
    expect((await line.backout(['capture', GOOD, '--known-good'])).stderr).toBe('')
    await Promise.all(NAMES.map(name => upgrade(fleet, name, BAD)))
    const running = line.backout(['run', '--yes', '--to', GOOD])
    await until('the canary is back', async () => (await runs(fleet, 'web-1')) === `active ${GOOD}`)
    expect((await all()).slice(1)).toEqual([`active ${BAD}`, `active ${BAD}`])
    await fleet.cutOff('web-2')
    await fleet.reboot('web-3')
    await writeFile(join(dir, 'go'), '')
    const { code, stderr, stdout } = await running
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toContain('but not all of it: shop/switch/web-2')
    expect(await readFile(join(dir, 'fenced'), 'utf8')).toBe('web-2\n')
    await fleet.plugIn('web-2')
    expect(await all()).toEqual([`active ${GOOD}`, `active ${BAD}`, `active ${GOOD}`])
  })

  it('stops once so many hosts have failed as it is told to stop at, and begins nothing more', async () => {
    await configure({ batch: [1, 1, 1], stopAt: 1, batchGate: 'go', fence: 'echo {host} >>fenced' })
    expect((await line.backout(['capture', GOOD, '--known-good'])).stderr).toBe('')
    await Promise.all(NAMES.map(name => upgrade(fleet, name, BAD)))
    const running = line.backout(['run', '--yes', '--to', GOOD])
    await until('the canary is back', async () => (await runs(fleet, 'web-1')) === `active ${GOOD}`)
    await fleet.pause('web-2')
    await writeFile(join(dir, 'go'), '')
    const run = await running
    await fleet.unpause('web-2')
    expect(run.code).not.toBe(0)
    expect(await readFile(join(dir, 'fenced'), 'utf8')).toBe('web-2\n')
    expect(await all()).toEqual([`active ${GOOD}`, `active ${BAD}`, `active ${BAD}`])
  })

  it('does not believe a unit that dies two seconds after its start, nor one that systemd starts again and again', async () => {
    await using target = await open({ limits: { ...LIMITS, start: '2s' } })
    const good = await captured(target)
    await upgrade(fleet, 'web-1', BAD)
    const [change, restart] = ordered(await proposed(target, good))
    if (change === undefined || restart === undefined) throw new Error('two steps expected')
    await target.apply(change, stepAct(change))
    await fleet.root('web-1', 'touch /srv/shop/ill')
    await expect(target.apply(restart, stepAct(restart))).rejects.toMatchObject({
      code: 'not_stable',
      message: expect.stringContaining('stopped'),
    })
    expect(await target.verify(restart, stepAct(restart))).toMatchObject({ is: 'not-done' })

    const again = '[Service]\nRestart=always\nRestartSec=50ms\n[Unit]\nStartLimitIntervalSec=0\n'
    await fleet.root(
      'web-1',
      `mkdir -p /run/systemd/system/shop.service.d\nprintf '${again}' >/run/systemd/system/shop.service.d/again.conf\nsystemctl daemon-reload`,
    )
    await expect(target.apply(restart, stepAct(restart))).rejects.toMatchObject({
      code: 'not_stable',
      message: expect.stringContaining('started anew'),
    })
    expect(await target.verify(restart, stepAct(restart))).toMatchObject({ is: 'not-done' })
    await fleet.root('web-1', 'rm -r /srv/shop/ill /run/systemd/system/shop.service.d\nsystemctl daemon-reload')
    await target.apply(restart, stepAct(restart))
    expect(await target.verify(restart, stepAct(restart))).toMatchObject({ is: 'done' })
  })

  it('starts a unit that systemd gave up because the bad release died too often', async () => {
    await using target = await open()
    const good = await captured(target)
    await upgrade(fleet, 'web-1', BAD)
    const dies = '[Service]\nRestart=always\nRestartSec=10ms\n[Unit]\nStartLimitIntervalSec=1h\nStartLimitBurst=3\n'
    const drop = '/run/systemd/system/shop.service.d'
    await fleet.root('web-1', `mkdir -p ${drop}\nprintf '${dies}' >${drop}/dies.conf\nsystemctl daemon-reload`)
    await fleet.root('web-1', `echo 'exit 1' >/srv/shop/releases/${BAD}/run\nsystemctl restart shop.service || :`)
    await until('systemd gave it up', async () => (await runs(fleet, 'web-1')) === 'failed')
    for (const step of ordered(await proposed(target, good))) {
      await target.apply(step, stepAct(step))
      expect(await target.verify(step, stepAct(step))).toMatchObject({ is: 'done' })
    }
    expect(await runs(fleet, 'web-1')).toBe(`active ${GOOD}`)
    await fleet.root('web-1', `rm -r ${drop}\nsystemctl daemon-reload`)
  })

  it('says before it begins, and in the step, that sudo would ask for a password', async () => {
    await using target = await open()
    const good = await captured(target)
    await upgrade(fleet, 'web-1', BAD)
    const rule = await fleet.root('web-1', 'cat /etc/sudoers.d/deploy')
    await fleet.root('web-1', 'rm /etc/sudoers.d/deploy')
    try {
      const proposal = await proposed(target, good)
      expect(codes(proposal)).toEqual(['warning sudo_refused'])
      const restart = stepOf(proposal, 'shop/restart/web-1')
      await target.apply(stepOf(proposal, 'shop/switch/web-1'), stepAct(stepOf(proposal, 'shop/switch/web-1')))
      await expect(target.apply(restart, stepAct(restart))).rejects.toMatchObject({
        code: 'command_failed',
        why: expect.stringContaining('password is required'),
        next: expect.stringContaining('NOPASSWD'),
      })
      expect(await target.verify(restart, stepAct(restart))).toMatchObject({ is: 'not-done' })
    } finally {
      await fleet.root('web-1', `echo '${rule}' >/etc/sudoers.d/deploy\nchmod 440 /etc/sudoers.d/deploy`)
    }
    expect(codes(await proposed(target, good))).toEqual([])
  })

  it("restarts a unit of the user's own manager", async () => {
    await fleet.root('web-1', 'loginctl enable-linger deploy')
    const version = 'cat "$XDG_RUNTIME_DIR/version"'
    await using target = await open({ service: { systemd: 'own.service', user: true }, version })
    const manager = 'runuser -u deploy -- env XDG_RUNTIME_DIR=/run/user/1000 systemctl --user'
    const own = (verb: string) => fleet.root('web-1', `${manager} ${verb} own.service`)
    await until('the manager is there', () =>
      own('start').then(
        () => true,
        () => false,
      ),
    )
    const good = await captured(target)
    expect(good.hosts['web-1']).toMatchObject({ version: GOOD, stopped: [] })
    await fleet.root('web-1', `ln -sfn releases/${BAD} /srv/shop/current`)
    await own('restart')
    for (const step of ordered(await proposed(target, good))) {
      await target.apply(step, stepAct(step))
      expect(await target.verify(step, stepAct(step))).toMatchObject({ is: 'done' })
    }
    expect((await target.observe(new AbortController().signal)).summary).toBe(`${GOOD} on 1 of 1 host`)
    await own('stop')
  })

  it('says that the disk of a host is full, and has then left the link where it was', async () => {
    await fleet.root(
      'web-1',
      'cp -a /srv/shop /srv/kept\nmount -t tmpfs -o size=64k,mode=0777 tmpfs /srv/shop\ncp -a /srv/kept/. /srv/shop',
    )
    try {
      await using target = await open()
      const good = await captured(target)
      await upgrade(fleet, 'web-1', BAD)
      const step = stepOf(await proposed(target, good), 'shop/switch/web-1')
      await fleet.root('web-1', 'cat /dev/zero >/srv/shop/zero 2>/dev/null || :')
      await expect(target.apply(step, stepAct(step))).rejects.toMatchObject({
        code: 'not_writable',
        why: expect.stringContaining('No space left'),
        next: expect.stringContaining('free space'),
      })
      expect(await target.verify(step, stepAct(step))).toMatchObject({ is: 'not-done' })
      expect(await fleet.root('web-1', 'readlink /srv/shop/current')).toBe(`releases/${BAD}`)
      await fleet.root('web-1', 'rm /srv/shop/zero')
      await target.apply(step, stepAct(step))
      expect(await target.verify(step, stepAct(step))).toMatchObject({ is: 'done' })
    } finally {
      await fleet.root('web-1', 'umount /srv/shop\nrm -r /srv/kept')
    }
  })

  it('works where several people deploy, whatever their umask, and says where one cannot read the marks of another', async () => {
    const root = (script: string) => fleet.root('web-1', script)
    await root('id ops 2>/dev/null || useradd -m -s /bin/bash -G deploy ops')
    await root('chgrp -R deploy /srv/shop\nchmod 2775 /srv/shop')
    await using mine = await open({ version: undefined })
    await using theirs = await open({ version: undefined, hosts: [{ name: 'web-1', address: 'ops@web-1' }] })
    const good = await captured(mine)
    await upgrade(fleet, 'web-1', BAD)
    const change = stepOf(await proposed(mine, good), 'shop/switch/web-1')
    await mine.apply(change, stepAct(change))
    const next = await proposed(theirs, good)
    expect(next.steps.map(s => s.id)).toEqual(['shop/restart/web-1'])
    await upgrade(fleet, 'web-1', BAD)
    const again = stepOf(await proposed(theirs, good), 'shop/switch/web-1')
    await theirs.apply(again, stepAct(again, 'r2'))
    expect(await theirs.verify(again, stepAct(again, 'r2'))).toMatchObject({ is: 'done' })

    await root('chmod 700 /srv/shop/.backout')
    const { findings } = await proposed(theirs, good)
    expect(findings).toMatchObject([
      { level: 'blocker', code: 'host_unreachable', what: expect.stringContaining('not_readable') },
      {},
    ])
  })
})
