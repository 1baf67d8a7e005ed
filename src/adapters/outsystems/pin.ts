import { z } from 'zod'

const moduleVersion = z.strictObject({
  name: z.string(),
  version: z.string().describe('key of the module version'),
  hash: z.string().nullable().describe('tells whether two versions of a module differ in what they do'),
})
export type ModuleVersion = z.infer<typeof moduleVersion>

const application = z.strictObject({
  name: z.string(),
  kind: z.string(),
  version: z.string().describe('key of the tagged version'),
  label: z.string().nullable(),
  modified: z.boolean().describe('changed in the environment since it was tagged'),
  zone: z.string(),
  modules: z.record(z.string(), moduleVersion),
})
export type Application = z.infer<typeof application>

/** Applications by key, as an environment runs them. */
export const applications = z.record(z.string(), application)
export type Applications = z.infer<typeof applications>

const flight = z.strictObject({
  key: z.string(),
  what: z.string(),
  status: z.string(),
  since: z.string().nullable(),
  /** Keys of the applications it deploys; null where it is a binary, which may hold any. */
  applications: z.array(z.string()).nullable(),
})
export type Flight = z.infer<typeof flight>

/** What `observe` leaves for `capture` and `propose`. */
export const detail = z.strictObject({
  applications,
  flights: z.array(flight),
  /** Backout told LifeTime to hold maintenance mode, and has not told it otherwise since. */
  held: z.boolean(),
})
export type Detail = z.infer<typeof detail>

const solution = z.strictObject({ backup: z.string(), file: z.string(), bytes: z.number(), sha256: z.string() })
export type SolutionPackage = z.infer<typeof solution>

export const pin = z.strictObject({
  identity: z.string(),
  environment: z.strictObject({ key: z.string(), name: z.string() }),
  applications,
  solution: solution.nullable(),
})
export type Pin = z.infer<typeof pin>
