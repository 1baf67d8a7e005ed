import { z } from 'zod'
import { duration } from '../../config/fields.ts'
import { SECRET_NAMES } from '../../exec/secret-names.ts'

const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/
const name = () => z.string().regex(NAME, 'expected a name as Swarm takes it: "shop_web"')
const names = z.array(z.string().min(1))
const ENGINE = /^(unix:\/\/\/.+|tcp:\/\/[A-Za-z0-9.:[\]-]+:\d+|ssh:\/\/[A-Za-z0-9][A-Za-z0-9._@:%-]*(\/.+)?)$/

/** The settings of a `swarm` component. */
export const config = z
  .strictObject({
    engine: z
      .string()
      .regex(ENGINE, 'expected "unix:///PATH", "tcp://HOST:PORT" or "ssh://USER@HOST"')
      .default('unix:///var/run/docker.sock')
      .describe(
        'The Engine API of a manager: unix:///PATH, tcp://HOST:PORT, or ssh://USER@HOST with the path of its socket behind',
      ),
    tls: z
      .strictObject({
        ca: z.string().describe('File with the authority that signed the certificate of the engine'),
        cert: z.string().describe('File with the certificate shown to it'),
        key: z.string().describe('File with the key of that certificate'),
      })
      .optional()
      .describe('For tcp://. Without it nothing is encrypted, and anybody may speak to the engine'),
    sshConfig: z.string().optional().describe("An ssh_config to use instead of the user's"),
    stack: name().optional().describe('Every service of this stack (label com.docker.stack.namespace)'),
    services: z.array(name()).min(1).optional().describe('The services by name, instead of a stack'),
    except: z.array(name()).default([]).describe('Services of the stack that are not cared for: its database'),
    parallel: z.number().int().positive().default(4).describe('How many services are updated at the same time at most'),
    secrets: names
      .default([...SECRET_NAMES])
      .describe("Variables that hold secrets, * for any part. They keep today's value: secrets get rotated"),
    pinned: names
      .default([])
      .describe('Variables, and names of files below /run/secrets, that go back with the release all the same'),
    current: names.default([]).describe("Other variables that keep today's value"),
    added: z
      .enum(['leave', 'stop'])
      .default('leave')
      .describe('Services of the stack that the release did not have: leave them, or scale them to 0'),
    exec: name()
      .optional()
      .describe(
        'The service whose image down-scripts run in; else the first of `services`; needed where services of a stack differ',
      ),
    limits: z
      .strictObject({
        answer: duration().prefault('15s').describe('For one question to the engine'),
        update: duration()
          .prefault('10m')
          .describe('Until all tasks of a service run what they should, and old ones are gone'),
        settle: duration().prefault('5s').describe('How long each task must have run'),
      })
      .prefault({}),
  })
  .refine(value => (value.stack === undefined) !== (value.services === undefined), {
    message: 'name either a `stack` or `services`',
    path: ['services'],
  })
  .refine(value => value.tls === undefined || value.engine.startsWith('tcp://'), {
    message: 'tls is for an engine at tcp://',
    path: ['tls'],
  })

export type SwarmConfig = z.infer<typeof config>
