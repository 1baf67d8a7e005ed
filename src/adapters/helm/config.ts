import { z } from 'zod'
import { command, duration } from '../../config/fields.ts'
import { common, place } from '../../kubernetes/settings.ts'

const NAME = /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/

const limits = z
  .strictObject({
    api: duration().prefault('15s').describe('For one request to the API server'),
    read: duration().prefault('30s').describe('For one question to helm'),
    halt: duration().prefault('60s').describe('For `halt`'),
    rollback: duration()
      .prefault('5m')
      .describe('`--timeout` of the rollback: until its objects are ready and its hooks ended'),
    settle: duration()
      .prefault('3s')
      .describe('How long pods without a readiness probe must stay up before they count'),
    stuck: duration()
      .prefault('90s')
      .describe('How long pods of the release may keep failing, once helm is through, before the step fails'),
    pending: duration()
      .prefault('5m')
      .describe(
        'How long an operation of another client counts as alive after it began: its --timeout. What is older was left by a client that died',
      ),
  })
  .prefault({})

/** The settings of a `helm` component. */
export const config = z.strictObject({
  release: z.string().regex(NAME, 'expected the name of a release').describe('The release that is taken back'),
  helm: z
    .array(z.string().min(1))
    .min(1)
    .default(['helm'])
    .describe('How helm is called, with options for all calls. Helm 3 and 4'),
  ...place,
  hooks: z
    .enum(['run', 'skip'])
    .default('run')
    .describe('run: the rollback hooks of the release that is gone back to. skip: --no-hooks'),
  halt: command()
    .optional()
    .describe(
      'Ends the client that is at the release (a deploy job of CI) before the rollback. Exit code 0: it is gone. Without it the plan waits for it',
    ),
  gitops: common.gitops,
  argocd: common.argocd,
  limits: limits.describe('Time limits'),
})

export type HelmConfig = z.output<typeof config>
