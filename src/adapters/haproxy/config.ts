import { z } from 'zod'
import { duration } from '../../config/fields.ts'

// The runtime API knows no quoting: a name must not be able to end a command.
const name = () =>
  z.string().regex(/^[A-Za-z0-9_.:-]+$/, 'expected a name as HAProxy allows it: letters, digits, - _ . :')

const percents = z
  .array(z.number().positive().max(100))
  .min(1)
  .refine(list => list.every((p, i) => i === 0 || p > (list[i - 1] ?? 0)), 'each step gives more than the one before')
  .refine(list => list.at(-1) === 100, 'the last step is 100')

export const config = z.strictObject({
  socket: z
    .string()
    .min(1)
    .describe('the runtime API, level admin: path of the socket (relative to backout.yaml), or "host:port"'),
  backend: name().describe('the backend whose servers are switched'),
  servers: z
    .array(name())
    .min(1)
    .optional()
    .describe('the servers that serve users; all of the backend but the maintenance server by default'),
  maintenance: name()
    .optional()
    .describe(
      'the server of the same backend that shows the maintenance page; without it HAProxy answers as it does when no server is left',
    ),
  hold: z
    .enum(['drain', 'maint'])
    .default('drain')
    .describe(
      'how servers are kept from users: `drain` goes on with health checks, `maint` also refuses visitors tied by cookie or table',
    ),
  within: duration().default(10_000).describe('how long open requests may take to end'),
  shutdownSessions: z
    .boolean()
    .default(true)
    .describe('cut the requests that are still open after that time; otherwise they are left open and told of'),
  return: percents.default([100]).describe('the steps in which traffic comes back, in percent; the last is 100'),
  gate: z
    .string()
    .optional()
    .describe('the gate that is asked after each step; where it fails, traffic is taken away again'),
  settle: duration().default(0).describe('how long the gate must go on passing after each step'),
  timeout: duration().default(5000).describe('how long one question to HAProxy may take'),
})
export type Config = z.infer<typeof config>

const state = z.strictObject({ admin: z.enum(['ready', 'drain', 'maint']), weight: z.int().min(0).max(256) })
export type ServerState = z.infer<typeof state>

/** What each server that is cared for is told to do. */
export const servers = z.record(z.string(), state)
export type Servers = z.infer<typeof servers>

export const pin = z.strictObject({ identity: z.string(), servers })
export type Pin = z.infer<typeof pin>
