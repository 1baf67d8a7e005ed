import { z } from 'zod'
import { duration, text } from '../../config/fields.ts'
import { POINTER } from '../../exec/pointer.ts'

const pointer = () => z.string().regex(POINTER, 'expected a JSON pointer such as "/weights"')
const headers = () => z.record(z.string(), text()).default({}).describe('headers sent along; may hold secrets')

const request = z.strictObject({
  url: text().describe('where it is sent'),
  method: z.enum(['GET', 'POST', 'PUT', 'PATCH', 'DELETE']).default('PUT').describe('the HTTP method'),
  headers: headers(),
  body: text().optional().describe('what is sent'),
})

const flag = z.strictObject({
  read: pointer().describe('where the answer to `read` says whether maintenance is on'),
  onValue: z.json().default(true).describe('what stands there while it is on'),
  on: request.describe('the request that switches maintenance on'),
  off: request.describe('the request that switches maintenance off'),
})

const percents = z
  .array(z.number().positive().max(100))
  .min(1)
  .refine(list => list.every((p, i) => i === 0 || p > (list[i - 1] ?? 0)), 'each step gives more than the one before')
  .refine(list => list.at(-1) === 100, 'the last step is 100')

export const config = z
  .strictObject({
    identity: z
      .string()
      .min(1)
      .optional()
      .describe('a name of this switch that stays the same; its address by default'),
    read: z
      .strictObject({
        url: text().describe('where the state is read'),
        method: z.enum(['GET', 'POST']).default('GET').describe('the HTTP method'),
        headers: headers(),
        weights: pointer()
          .optional()
          .describe(
            'where the answer holds an object of side and weight; none for a switch with a maintenance mode only',
          ),
      })
      .describe('how the state is read'),
    write: z
      .strictObject({
        url: text().describe('where weights are written'),
        method: z.enum(['PUT', 'POST', 'PATCH']).default('PUT').describe('the HTTP method'),
        headers: headers(),
        body: text()
          .default('{weights}')
          .describe(
            'what is sent: {weights} becomes the object of side and weight, {weight:NAME} the weight of one side',
          ),
      })
      .optional()
      .describe('how weights are written'),
    ifMatch: z
      .boolean()
      .default(true)
      .describe('send the ETag that was read as If-Match, so that a change in between is not overwritten'),
    maintenance: z
      .union([z.string().min(1), flag])
      .describe('the side that shows the maintenance page, or the requests that switch a maintenance mode on and off'),
    live: z
      .union([z.string().min(1), z.array(z.string().min(1)).min(1)])
      .optional()
      .describe('the sides that serve users; every side but the maintenance page by default'),
    total: z
      .number()
      .positive()
      .default(100)
      .describe('what the weights written add up to; above 1 they are whole numbers'),
    return: percents.default([100]).describe('the steps in which traffic comes back, in percent; the last is 100'),
    gate: z
      .string()
      .optional()
      .describe('the gate that is asked after each step; where it fails, traffic is taken away again'),
    settle: duration().default(0).describe('how long the gate must go on passing after each step'),
    drained: z
      .strictObject({
        open: pointer().describe(
          'where the answer holds the number of open requests: one number, or an object of side and number',
        ),
        url: text().optional().describe('where that is read, if not in the answer to `read`'),
        within: duration().default(10_000).describe('how long open requests may take to end'),
        then: z
          .enum(['go-on', 'fail'])
          .default('go-on')
          .describe('what happens when some are still open: go on and tell, or fail the step'),
      })
      .optional()
      .describe('how it is known that no request is open any more; without it, changed weights count as drained'),
    takesEffectWithin: duration()
      .default(5000)
      .describe('how long what the switch accepted may take until it shows; until then nobody takes it for refused'),
    timeout: duration().default(5000).describe('how long one request to the switch may take'),
  })
  .refine(c => (c.read.weights === undefined) === (c.write === undefined), {
    message: '`read.weights` and `write` belong together',
    path: ['write'],
  })
  .refine(c => c.write !== undefined || typeof c.maintenance !== 'string', {
    message: 'a maintenance side needs `read.weights` and `write`',
    path: ['maintenance'],
  })

export type Config = z.infer<typeof config>

const weights = z.record(z.string(), z.number().nonnegative())

/** Where users are: weights as the switch has them, and its maintenance mode; null for what the switch does not have. */
export const place = z.strictObject({ weights: weights.nullable(), maintenance: z.boolean().nullable() })
export type Place = z.infer<typeof place>

export const pin = z.strictObject({ identity: z.string(), ...place.shape })
export type Pin = z.infer<typeof pin>
