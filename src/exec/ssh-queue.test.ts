import { describe, expect, it } from 'vitest'
import { noSshd, sshHosts } from '../../test/support/sshd.ts'
import { sshRunner } from './ssh.ts'

const SESSIONS = 8
const why = noSshd()

describe.skipIf(why !== null)(
  `a host of which all sessions are in use${why === null ? '' : ` (skipped: ${why})`}`,
  () => {
    it('keeps nobody waiting who is told to stop, and gives the place to the next one', async () => {
      const fleet = await sshHosts(['web-1'])
      const web = sshRunner({ address: 'web-1', config: fleet.config })
      try {
        const [over, told] = [new AbortController(), new AbortController()]
        const long = { argv: ['sleep', '100'], limitMs: 120_000 }
        const busy = Array.from({ length: SESSIONS }, () => web.run(long, over.signal).catch((error: unknown) => error))
        const waits = web.run({ argv: ['true'], limitMs: 120_000 }, told.signal)
        const next = web.run({ argv: ['echo', 'next'], limitMs: 120_000 })
        told.abort(new Error('told to stop'))
        await expect(waits).rejects.toThrow('told to stop')
        over.abort(new Error('over'))
        expect((await next).stdout).toBe('next\n')
        await Promise.all(busy)
      } finally {
        await web[Symbol.asyncDispose]()
        await fleet.dispose()
      }
    }, 60_000)
  },
)
