import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { ordered, stepAct } from '../../../test/conformance/walk.ts'
import { captured, openHosts, proposed, until } from '../../../test/support/hosts.ts'
import { type Releases, releases } from '../../../test/support/releases.ts'
import { noSshd, type SshHosts, sshHosts } from '../../../test/support/sshd.ts'
import type { Step, Target } from '../../core/contract.ts'
import type { HostsPin } from './pin.ts'

const signal = new AbortController().signal
const NAMES = ['web-1', 'web-2', 'web-3']
const skipped = noSshd()

/** A batch that goes from host to host, as a playbook does: it waits for long after each. */
const BATCH = `
echo $$ >"$1/batch.pid"
for host in web-1 web-2 web-3; do
  ln -sfn releases/v1.3.0 "$1/$host/current"
  echo $host >>"$1/batch.log"
  sleep 600 & wait $!
done`

/** What is installed on one host by itself: it takes its mark away when it is ended. */
const AGENT = `
trap 'rm -f "$1/.deploying"; exit 143' TERM
echo "v1.3.0 by its agent" >"$1/.deploying"
echo $$ >"$1/agent.pid"
sleep 600 & wait $!`

describe.skipIf(skipped !== null)(
  `C2: a deployment under way${skipped === null ? '' : ` (skipped: ${skipped})`}`,
  () => {
    let fleet: SshHosts
    let shop: Releases
    let settings: { [key: string]: unknown }
    let target: Target<HostsPin>
    let good: HostsPin
    const children: ChildProcess[] = []

    const reopen = async (inFlight: object) => {
      await target[Symbol.asyncDispose]()
      target = await openHosts(shop.dir, { ...settings, inFlight })
    }
    const begin = (script: string, folder: string) => {
      const child = spawn('sh', ['-c', script, 'deploy', folder], { stdio: 'ignore', detached: true })
      children.push(child)
      return child
    }
    const inFlight = async () => (await target.observe(signal)).inFlight.map(op => op.what)
    const haltOf = async (): Promise<{ halt: Step; rest: Step[]; settles: readonly string[] }> => {
      const proposal = await proposed(target, good)
      const [halt, ...rest] = ordered(proposal)
      if (halt === undefined) throw new Error('no step')
      expect([halt.id, proposal.phases.preflight]).toEqual(['shop/halt', { step: 'shop/halt' }])
      return { halt, rest, settles: proposal.settles ?? [] }
    }
    const run = async (steps: readonly Step[]) => {
      for (const step of steps) {
        await target.apply(step, stepAct(step))
        expect(await target.verify(step, stepAct(step))).toMatchObject({ is: 'done' })
      }
    }

    beforeAll(async () => {
      fleet = await sshHosts(NAMES)
    })
    afterAll(() => fleet.dispose())
    beforeEach(async () => {
      shop = await releases(NAMES)
      for (const name of NAMES) {
        for (const v of ['v1.2.9', 'v1.3.0']) await shop.unpack(name, `releases/${v}`, v)
        await shop.link(name, 'current', 'releases/v1.2.9')
      }
      const limits = { stop: '4s', connect: '2s' }
      settings = { hosts: NAMES, sshConfig: fleet.config, root: shop.root, limits }
      target = await openHosts(shop.dir, settings)
      good = await captured(target)
    })
    afterEach(async () => {
      await target[Symbol.asyncDispose]()
      for (const { pid = 0, exitCode, signalCode } of children.splice(0)) {
        if (exitCode === null && signalCode === null) process.kill(-pid, 'SIGKILL')
      }
      await shop.dispose()
    })

    const BY_PID = {
      check: 'kill -0 $(cat batch.pid 2>/dev/null) 2>/dev/null && echo "the batch of v1.3.0"',
      stop: 'kill $(cat batch.pid)',
      on: 'here',
    }

    it('of a whole fleet, led from this machine, is stopped before its hosts are taken back', async () => {
      await reopen(BY_PID)
      expect(await inFlight()).toEqual([])
      const batch = begin(BATCH, shop.dir)
      await until('the first host has it', () => existsSync(`${shop.dir}/batch.log`))
      expect(await inFlight()).toEqual(['the batch of v1.3.0 (on this machine)'])
      const { halt, rest, settles } = await haltOf()
      expect([settles, rest.map(s => s.id)]).toEqual([await inFlight(), ['shop/switch/web-1']])
      expect((await target.verify(halt, stepAct(halt))).is).toBe('not-done')
      await run([halt])
      await until('it has ended', () => batch.exitCode !== null || batch.signalCode !== null)
      await run(rest)
      expect(await Promise.all(NAMES.map(name => shop.linked(name, 'current')))).toEqual(
        NAMES.map(() => 'releases/v1.2.9'),
      )
      expect((await proposed(target, good)).steps).toEqual([])
    })

    it('that got further after the plan was made is stopped, and the plan is made again', async () => {
      await reopen(BY_PID)
      begin(BATCH, shop.dir)
      await until('the first host has it', () => existsSync(`${shop.dir}/batch.log`))
      const { halt } = await haltOf()
      await shop.link('web-2', 'current', 'releases/v1.3.0')
      await expect(target.apply(halt, stepAct(halt))).rejects.toMatchObject({
        code: 'link_moved',
        exit: 'moved',
        why: expect.stringContaining('web-2 to v1.3.0'),
      })
      expect([(await target.verify(halt, stepAct(halt))).is, await inFlight()]).toEqual(['not-done', []])
      expect((await proposed(target, good)).steps.map(s => s.id)).toEqual(['shop/switch/web-1', 'shop/switch/web-2'])
    })

    it('on a host is stopped there, also where nothing was changed yet; one that goes on is told', async () => {
      await reopen({ stop: 'kill $(cat agent.pid)' })
      begin(AGENT, shop.path('web-2'))
      await until('it began', () => existsSync(shop.path('web-2', 'agent.pid')))
      const { halt, rest, settles } = await haltOf()
      expect([settles, rest]).toEqual([['v1.3.0 by its agent on web-2'], []])
      await run([halt])
      expect(await inFlight()).toEqual([])

      await writeFile(shop.path('web-3', '.deploying'), 'v1.3.0 by hand\n')
      await reopen({ stop: 'true' })
      const again = await haltOf()
      await expect(target.apply(again.halt, stepAct(again.halt))).rejects.toMatchObject({
        code: 'still_deploying',
        why: 'v1.3.0 by hand on web-3 goes on',
      })
      await reopen({ stop: 'echo no right to that >&2; exit 4' })
      await expect(target.apply(again.halt, stepAct(again.halt))).rejects.toMatchObject({
        code: 'command_failed',
        message: expect.stringContaining('web-3'),
        why: 'no right to that',
      })
    })

    it('is no step where nobody said how it is stopped, or whether it is there', async () => {
      await writeFile(shop.path('web-3', '.deploying'), 'v1.3.0 by hand\n')
      const { settles, steps } = await proposed(target, good)
      expect([settles, steps]).toEqual([[], []])
      await reopen({ check: ['no-such-program'], stop: ['true'] })
      expect((await proposed(target, good)).settles).toEqual([])
    })
  },
)
