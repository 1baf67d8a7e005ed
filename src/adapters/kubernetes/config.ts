import { z } from 'zod'
import { common, place } from '../../kubernetes/settings.ts'

const OBJECT = /^(deployment|statefulset|daemonset)\/[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/i

const object = z
  .string()
  .regex(OBJECT, 'expected deployment/NAME, statefulset/NAME or daemonset/NAME')
  .transform(text => text.toLowerCase())

/** The settings of a `kubernetes` component. */
export const config = z
  .strictObject({
    ...place,
    objects: z
      .array(object)
      .min(1)
      .optional()
      .describe('What is taken back: deployment/NAME, statefulset/NAME, daemonset/NAME'),
    selector: z
      .string()
      .min(1)
      .optional()
      .describe(
        'Instead: every Deployment, StatefulSet and DaemonSet with these labels, as kubectl takes them: "app=shop,tier!=cache"',
      ),
    ...common,
  })
  .superRefine((value, ctx) => {
    if ((value.objects === undefined) === (value.selector === undefined)) {
      ctx.addIssue({ code: 'custom', message: 'give either `objects` or `selector`' })
    }
    const twice = value.objects?.find((name, i) => value.objects?.indexOf(name) !== i)
    if (twice !== undefined) ctx.addIssue({ code: 'custom', path: ['objects'], message: `${twice} is named twice` })
  })

export type KubernetesConfig = z.output<typeof config>
