import { z } from 'zod'

/** What LifeTime answers, as far as it is used. What else stands there is left alone. */

/** `IsOffline` stands in the examples only. */
export const environment = z.object({
  Key: z.string(),
  Name: z.string(),
  Order: z.number().default(0),
  IsOffline: z.boolean().default(false),
})
export type EnvironmentAnswer = z.infer<typeof environment>

const moduleStatus = z.object({ EnvironmentKey: z.string().default(''), ModuleVersionKey: z.string() })

export const application = z.object({
  Key: z.string(),
  Name: z.string(),
  Kind: z.string().default(''),
  IsSystem: z.boolean().default(false),
  AppStatusInEnvs: z
    .array(
      z.object({
        EnvironmentKey: z.string(),
        BaseApplicationVersionKey: z.string(),
        BaseApplicationVersionLabel: z.string().optional(),
        IsModified: z.boolean(),
        ModuleStatusInEnvs: z.array(moduleStatus).default([]),
        DeploymentZoneKey: z.string().default(''),
      }),
    )
    .default([]),
})
export type ApplicationAnswer = z.infer<typeof application>

/** The Swagger file says ModuleStatusInEnv, an earlier one ModuleStatusInEnvs. */
export const moduleAnswer = z
  .object({
    Key: z.string(),
    Name: z.string(),
    ModuleStatusInEnv: z.array(moduleStatus).optional(),
    ModuleStatusInEnvs: z.array(moduleStatus).optional(),
  })
  .transform(({ Key, Name, ModuleStatusInEnv, ModuleStatusInEnvs }) => ({
    key: Key,
    name: Name,
    in: ModuleStatusInEnv ?? ModuleStatusInEnvs ?? [],
  }))

const moduleVersion = z.object({ Key: z.string(), ModuleKey: z.string(), GeneralHash: z.string().optional() })

export { moduleVersion as moduleVersionAnswer }

export const applicationVersion = z.object({
  Key: z.string(),
  ApplicationKey: z.string(),
  Version: z.string(),
  ModuleVersions: z.array(moduleVersion).default([]),
})
export type ApplicationVersion = z.infer<typeof applicationVersion>

export const zone = z.object({ Key: z.string(), Name: z.string().default('') })

export const configurations = z.object({
  configurations: z
    .array(
      z.object({ environmentKey: z.string(), isBlocked: z.boolean(), isBlockedChangeReason: z.string().default('') }),
    )
    .default([]),
})

export const deployment = z.object({
  Key: z.string(),
  SourceEnvironmentKey: z.string().default(''),
  TargetEnvironmentKey: z.string(),
  Notes: z.string().default(''),
  CreatedOn: z.string().default(''),
  CreatedByUsername: z.string().default(''),
  StartedOn: z.string().default(''),
  StartedByUsername: z.string().default(''),
  ApplicationOperations: z
    .array(z.object({ ApplicationKey: z.string(), ApplicationVersionKey: z.string() }))
    .default([]),
})
export type DeploymentAnswer = z.infer<typeof deployment>

const operation = z.object({ ApplicationKey: z.string().default('') })

export const details = z.object({
  ApplicationConflicts: z
    .array(
      z.object({
        Message: z.string().default(''),
        ProducerApplicationOperation: operation.optional(),
        ConsumerApplicationOperation: operation.optional(),
        ModuleConflict: z.object({ ConflictType: z.string().default('') }).optional(),
      }),
    )
    .default([]),
  ApplicationsToRedeploy: z.array(z.string()).default([]),
  ModulesToDelete: z.array(z.object({ Key: z.string(), Name: z.string().default('') })).default([]),
})
export type Details = z.infer<typeof details>

/** A status that is not among these is no answer: nothing is assumed of it. */
export const STATUSES = [
  'saved',
  'running',
  'needs_user_intervention',
  'aborting',
  'aborted',
  'finished_successful',
  'finished_with_warnings',
  'finished_with_errors',
  'force_finished',
] as const

export const status = z.object({
  DeploymentStatus: z.enum(STATUSES),
  Info: z.string().default(''),
  DeploymentLog: z.array(z.object({ Message: z.string(), Type: z.string().default('') })).default([]),
})
export type StatusAnswer = z.infer<typeof status>

/** The Swagger file has these two in a list, the examples do not. */
function perhapsListed<T extends z.ZodType>(inner: T) {
  return z.union([
    inner,
    z
      .array(inner)
      .min(1)
      .transform(list => list[0] as z.infer<T>),
  ])
}

export const solutionStatus = perhapsListed(z.object({ Status: z.string(), StatusReason: z.string().default('') }))

/** The Swagger file says Url, the examples say url. */
export const link = perhapsListed(
  z
    .object({ url: z.string().optional(), Url: z.string().optional() })
    .transform(({ url, Url }) => url ?? Url ?? '')
    .refine(url => URL.canParse(url), 'it holds no address'),
)

export const deploymentKey = z.object({ DeploymentKey: z.string() })
