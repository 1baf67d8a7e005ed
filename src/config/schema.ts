import { z } from 'zod'
import { PHASES } from '../core/words.ts'
import { command, duration, period, text } from './fields.ts'

/** `backout.yaml`, documented where it is validated. What stands in `settings:` is each adapter's own. */

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/
const name = () =>
  z
    .string()
    .regex(NAME, 'expected letters, digits, ".", "_" or "-", beginning with a letter or digit, 63 at most')
    .refine(it => !(it in {}), 'expected another name: this one stands for something in every object of the program')

const gateNames = () => z.array(z.string())

const component = z.strictObject({
  adapter: z.string().describe('what kind of system it is; `backout adapters` lists them'),
  dependsOn: z
    .array(z.string())
    .default([])
    .describe('components that this one needs to work: the app depends on its database, the traffic on the app'),
  limits: z
    .strictObject({
      step: duration().optional().describe('no step of this component may take longer'),
      retries: z.int().min(0).max(20).optional().describe('how often a step that left nothing behind is tried again'),
    })
    .default({})
    .describe('time limits that overrule those of the adapter'),
  settings: z.unknown().optional().describe("the adapter's own settings; see its page in docs/adapters/"),
})

const gate = z.strictObject({
  probes: z.array(z.string()).min(1).describe('all of them must be well'),
  attempts: z.int().min(1).max(1000).default(3).describe('how often it is asked at the most'),
  interval: duration().default(2_000).describe('pause between two attempts'),
  pass: z.int().min(1).max(100).default(1).describe('so many passes in a row make it pass'),
  timeout: duration().default(30_000).describe('longest time for one attempt; after it the probe is inconclusive'),
})

const hook = z.strictObject({
  run: command().describe('the command'),
  limit: duration().default(60_000).describe('time limit'),
  repeat: z
    .boolean()
    .default(false)
    .describe('it is harmless twice: after a crash it is run again instead of asking a person'),
})

const hooks = z.strictObject({
  before: hook.optional().describe('run before the steps of the phase'),
  after: hook.optional().describe('run after the steps of the phase'),
})

export const matrixRow = z.strictObject({
  severity: z.enum(['critical', 'high', 'medium', 'low']).describe('how bad it is'),
  dataImpact: z
    .array(z.enum(['none', 'minor', 'major', 'corruption']))
    .describe('for these impacts on the data')
    .optional(),
  fixLongerThan: period().default(0).describe('and mending would take longer than this'),
  answer: z.enum(['roll-back', 'consider', 'fix-forward']).describe('what is then advised'),
})

const policy = z.strictObject({
  onFailure: z
    .enum(['ask', 'take', 'stop'])
    .default('ask')
    .describe('when a step fails: ask a person, take the next rung, or stop and leave users safe'),
  concurrency: z.int().min(1).max(1000).default(10).describe('how many components are worked on at the same time'),
  lossHeadroom: z
    .number()
    .min(0)
    .max(1000)
    .default(10)
    .describe('percent that the data at risk may grow between plan and act before a person is asked again'),
  verify: gateNames().default([]).describe('gates that must pass before traffic comes back'),
  watch: z
    .strictObject({
      gates: gateNames().min(1).describe('gates that must go on passing'),
      for: period().default(3_600_000).describe('how long'),
    })
    .optional()
    .describe('after the return of the traffic; a failing gate takes it away again'),
  bake: z
    .strictObject({
      gates: gateNames().min(1).describe('gates that a new release must hold to become known-good'),
      for: period().default(0).describe('how long'),
    })
    .optional()
    .describe('asked by `backout upgrade end`'),
  matrix: z
    .array(matrixRow)
    .optional()
    .describe('replaces the shipped decision matrix; the first row that fits answers'),
})

const keys = z.strictObject({
  vault: text().optional().describe('age identities (AGE-SECRET-KEY-…), one a line, the newest first'),
  chain: text().optional().describe('key of the event chain: 64 hex digits'),
})

const s3 = z.strictObject({
  endpoint: z.url({ protocol: /^https?$/ }).describe('the storage: https://s3.eu-central-1.amazonaws.com'),
  region: z.string().default('us-east-1').describe('as the storage wants it signed'),
  bucket: z.string().min(1).describe('it must be there'),
  prefix: z
    .string()
    .regex(/^$|^[^/].*\/$/, 'expected nothing, or a folder with a slash at its end')
    .default('')
    .describe('stands before all names'),
  accessKey: text().describe('may hold secrets'),
  secretKey: text().describe('may hold secrets'),
  sessionToken: text().optional().describe('of a temporary key; may hold secrets'),
})

const backups = z.strictObject({
  s3: s3.optional().describe('an S3-compatible storage for their files; manifests stay in the home'),
  keepLocal: z
    .int()
    .min(1)
    .default(2)
    .describe('with s3: so many of the newest backups of each component stay in the home too'),
  keep: z
    .strictObject({
      last: z.int().min(1).default(3).describe('so many of the newest of each component and reason'),
      for: period().default(2_592_000_000).describe('and those that are younger than this'),
    })
    .optional()
    .describe('what `backout backups prune` leaves; without it nothing is ever removed'),
})

const homeOptions = z.union([
  z.string(),
  z.strictObject({
    at: z.string().describe('folder, or ssh://HOST/PATH'),
    command: z.string().default('backout').describe('how Backout is called on that host'),
  }),
])

/** The whole file. `probe` is the schema of one probe, which config does not know itself. */
export function fileSchema(probe: z.ZodType) {
  return z.strictObject({
    $schema: z.string().optional().describe('for editors'),
    environment: name().describe('the system that is rolled back: production, staging'),
    home: homeOptions
      .default('.backout')
      .describe('where ledger, journal, lock, vault and backups live: a folder, or ssh://HOST/PATH for several people'),
    keys: keys.default({}).describe("keys kept elsewhere; without them they are made in the user's own config folder"),
    backups: backups.prefault({}).describe('where backups lie, and how long'),
    components: z
      .record(name(), component)
      .refine(all => Object.keys(all).length > 0, 'expected at least one component')
      .describe('the parts of the environment, each handled by one adapter'),
    probes: z.record(name(), probe).default({}).describe('measurements'),
    gates: z.record(name(), gate).default({}).describe('conditions over probes that hold a run'),
    policy: policy.prefault({}).describe('how decisions are taken'),
    hooks: z
      .partialRecord(z.enum(PHASES), hooks)
      .default({})
      .describe('commands of your own before and after each phase'),
  })
}

type Schema = ReturnType<typeof fileSchema>
export type ConfigFile = z.infer<Schema>
export type MatrixRow = z.infer<typeof matrixRow>
