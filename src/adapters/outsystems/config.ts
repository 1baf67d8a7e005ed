import { z } from 'zod'
import { duration, text } from '../../config/fields.ts'

const LOOPBACK = new Set(['127.0.0.1', 'localhost', '[::1]'])

/** The token goes along with every request: never in the clear over a network. */
function safe(url: string): boolean {
  if (!URL.canParse(url)) return false
  const { protocol, hostname, username, password } = new URL(url)
  if (username !== '' || password !== '') return false
  return protocol === 'https:' || (protocol === 'http:' && LOOPBACK.has(hostname))
}

const limits = z
  .strictObject({
    request: duration().default(60_000).describe('for one request to LifeTime'),
    check: duration().default(300_000).describe('for LifeTime to check a deployment for conflicts'),
    tries: z.int().min(1).max(20).default(4).describe('how often a request that only reads is tried'),
    pace: duration().default(0).describe('the shortest time between two requests'),
    poll: duration().default(5000).describe('how often LifeTime is asked how far it is'),
    deployment: duration().default(1_800_000).describe('for one deployment, from creating it to its end'),
    package: duration().default(1_800_000).describe('for the solution package to be put together'),
    transfer: duration().default(1_800_000).describe('for the package to be downloaded or uploaded'),
    settle: duration().default(60_000).describe('how long the environment may take to report what was deployed'),
  })
  .prefault({})
  .describe('time limits and intervals')

export const config = z.strictObject({
  url: z
    .string()
    .refine(
      safe,
      'expected an https:// address without user and password (http:// only on this machine): a token goes along',
    )
    .transform(url => new URL(url).origin)
    .describe('the LifeTime console; a path is left out'),
  token: text().describe('of a service account that may deploy to both environments; may hold secrets'),
  environment: z.string().min(1).describe('the environment that is rolled back, by name or key'),
  source: z
    .string()
    .min(1)
    .optional()
    .describe(
      'the environment that earlier versions are deployed from, by name or key; by default the one before it in LifeTime',
    ),
  applications: z
    .array(z.string().min(1))
    .min(1)
    .optional()
    .describe('the applications that are cared for, by name; all but the built-in ones by default'),
  producers: z
    .record(z.string(), z.array(z.string()))
    .default({})
    .describe(
      'for each application those that it uses, by name: the API does not tell. One by one they go back from the bottom up',
    ),
  redeployOutdated: z
    .boolean()
    .default(true)
    .describe('let LifeTime redeploy applications that use what is deployed and would be outdated'),
  checkAhead: z
    .boolean()
    .default(true)
    .describe(
      "a plan asks for LifeTime's own check, with a deployment that is saved, never started, and deleted at once; without it conflicts show in the run only",
    ),
  inFlight: z
    .enum(['stop', 'wait', 'refuse'])
    .default('stop')
    .describe(
      'a deployment of somebody else that is going on: stop it (and wait where it cannot be stopped any more), wait for its end, or do not begin',
    ),
  secondStage: z
    .enum(['ask', 'continue'])
    .default('ask')
    .describe('what happens when a deployment in two stages is prepared: a person is asked, or it goes on'),
  package: z
    .boolean()
    .default(true)
    .describe('keep the solution package of the environment with every capture: without it there is no last way back'),
  includeReferences: z
    .boolean()
    .default(true)
    .describe('take what the applications use into the package, even where it is not cared for'),
  maintenance: z
    .strictObject({ reason: z.string().min(1).describe('what LifeTime shows for it') })
    .optional()
    .describe("hold LifeTime's maintenance mode around the deployments, so that nobody else deploys meanwhile"),
  downtime: duration().default(0).describe('how long users are not served while applications are deployed'),
  lookBack: z.int().min(1).max(365).default(7).describe('days: how old a deployment that is going on may be'),
  ca: z.string().optional().describe('file with the certificate authorities to trust, in place of the usual ones'),
  limits,
})

export type Config = z.infer<typeof config>
