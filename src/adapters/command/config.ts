import { z } from 'zod'
import { command, duration, text } from '../../config/fields.ts'
import { PHASES, TIERS } from '../../core/words.ts'

const exitCodes = (codes: number[], what: string) =>
  z.array(z.int().min(0).max(255)).default(codes).describe(`exit codes that mean ${what}`)

const verify = () =>
  command().optional().describe('asks whether it took effect; its exit code is the verdict. Only reads')

const stage = z.strictObject({
  apply: command().describe('ends it again: starts what was stopped, lets users back'),
  verify: verify(),
  title: z.string().optional().describe('what it does, for people: "let those inside in"'),
  phase: z.enum(PHASES).optional().describe('when; `code` after `stopped`, `return` after `drained`'),
  gate: z
    .string()
    .optional()
    .describe('a gate asked afterwards; where it fails after `drained`, users are sent away again'),
})

const undo = z
  .union([stage, z.array(stage).min(1)])
  .transform(said => [said].flat())
  .describe('ends it again; a list does it in stages, in this order, and goes on from one only once its gate passed')

const service = z.strictObject({
  apply: command().describe('brings it about'),
  verify: verify(),
  phase: z.enum(PHASES).optional().describe('when; by default `stop`, `drain` or `code`, by what is asked'),
  undo: undo.optional(),
})
export type Service = z.infer<typeof service>

const loss = z.strictObject({
  what: z.string().min(1).describe('names the data: "orders.discount"'),
  count: z.number().nonnegative().default(1).describe('how much'),
  unit: z.string().default('parts').describe('of what: "rows", "values"'),
  note: z.string().default('as declared in the settings').describe('what becomes of it'),
})

const fields = z.strictObject({
  identity: z
    .union([z.string().min(1), z.strictObject({ run: command().describe('prints it as its first line') })])
    .describe('which system this is, the same over all releases: a name, or a command that prints one'),
  observe: command()
    .optional()
    .describe(
      'prints JSON: {"state": …, "summary": "…", "detail": …, "inFlight": ["…"]}; all but `state` may be left out. Only reads. Left out together with `apply`: it only serves others',
    ),
  halt: command()
    .optional()
    .describe(
      'ends what `observe` says is in flight, as the first step of a plan; `observe` must no longer say so afterwards. Without it such a plan is blocked',
    ),
  capture: command()
    .optional()
    .describe('prints JSON: what `apply` needs to come back to this; the state by default. Changes nothing'),
  apply: command().optional().describe('brings the component to the release in $BACKOUT_PIN'),
  verify: verify().describe(
    'asks whether it is there; its exit code is the verdict. Only reads. Without it the outcome is unknown after an interruption',
  ),
  verdicts: z
    .strictObject({
      done: exitCodes([0], 'that it is there'),
      notDone: exitCodes([1], 'that it is not, and nothing is under way'),
      running: exitCodes([2], 'that it is under way'),
    })
    .prefault({})
    .describe('what the exit codes of verify commands mean; any other is unknown'),
  title: z.string().default('run the command of the settings').describe('what `apply` does, for people'),
  tier: z.enum(TIERS).default('release').describe('how drastic it is'),
  phase: z.enum(PHASES).default('code').describe('when `apply` runs'),
  cwd: z
    .string()
    .optional()
    .describe('the folder to run in, relative to backout.yaml; that of backout.yaml by default'),
  env: z.record(z.string(), text()).default({}).describe('added to the environment; may hold secrets'),
  limit: duration().default(600_000).describe('how long `apply` may take; then it is ended with all that it started'),
  readLimit: duration().default(60_000).describe('how long a command that only reads may take'),
  estimate: duration().default(30_000).describe('how long `apply` usually takes'),
  retries: z.int().min(0).max(20).default(0).describe('how often it is run again where it is not-done'),
  repeatable: z
    .boolean()
    .default(false)
    .describe('running it twice does no harm: an unknown outcome is repeated instead of asked about'),
  destructive: z.boolean().default(false).describe('it cannot be undone'),
  needs: z
    .array(
      z.strictObject({
        of: z.string().min(1).describe('a component'),
        what: z.enum(['drained', 'stopped', 'redeployed']).describe('what is asked of it'),
      }),
    )
    .default([])
    .describe('what must be seen to by other components when this one goes back'),
  serves: z
    .strictObject({ drained: service.optional(), stopped: service.optional(), redeployed: service.optional() })
    .prefault({})
    .describe('what other components may ask of this one, and the commands that see to it'),
  impact: z
    .strictObject({
      downtime: duration().default(0).describe('how long users are not served'),
      loss: z.array(loss).default([]).describe('data that going back destroys'),
      disappears: z.array(z.string()).default([]).describe('what users or operators will miss'),
    })
    .prefault({})
    .describe('what going back costs'),
})

/** What is never taken back itself, and stands in a plan for what others ask of it: timers, a firewall. */
export const config = fields.refine(
  c => (c.apply === undefined) === (c.observe === undefined) && (c.apply !== undefined || serves(c)),
  { path: ['apply'], message: 'expected `observe` and `apply` together, or neither and something that it `serves`' },
)
export type Config = z.infer<typeof fields>

function serves({ serves }: z.infer<typeof fields>): boolean {
  return Object.values(serves).some(service => service !== undefined)
}

/** What `observe` prints. */
export const observed = z.strictObject({
  state: z.json(),
  summary: z.string().optional(),
  detail: z.json().optional(),
  inFlight: z
    .array(z.union([z.string(), z.strictObject({ what: z.string(), since: z.string().nullable().default(null) })]))
    .default([]),
})

export const pin = z.strictObject({ identity: z.string(), summary: z.string(), state: z.json(), data: z.json() })
export type Pin = z.infer<typeof pin>
