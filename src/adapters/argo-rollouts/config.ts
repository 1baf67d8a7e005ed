import { z } from 'zod'
import { common, place } from '../../kubernetes/settings.ts'

const NAME = /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/

/** The settings of an `argo-rollouts` component. */
export const config = z
  .strictObject({
    ...place,
    rollouts: z
      .array(z.string().regex(NAME, 'expected the name of a Rollout'))
      .min(1)
      .describe('Names of the Rollouts that are taken back'),
    steps: z
      .enum(['skip', 'follow'])
      .default('skip')
      .describe(
        'skip: all pods go back at once where the release is not the stable one any more. follow: through the steps, pauses and analyses of its strategy',
      ),
    ...common,
  })
  .superRefine((value, ctx) => {
    const twice = value.rollouts.find((name, i) => value.rollouts.indexOf(name) !== i)
    if (twice !== undefined) ctx.addIssue({ code: 'custom', path: ['rollouts'], message: `${twice} is named twice` })
  })

export type ArgoRolloutsConfig = z.output<typeof config>
