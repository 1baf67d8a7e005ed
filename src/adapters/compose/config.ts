import { z } from 'zod'
import { command, duration } from '../../config/fields.ts'
import { SECRET_NAMES } from '../../exec/secret-names.ts'

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]*$/
const ADDRESS = /^[A-Za-z0-9][A-Za-z0-9._@:%-]*$/
const service = () => z.string().regex(NAME, 'expected the name of a service')
const file = () => z.string().regex(/^[^/\0].*$/, 'expected a path relative to `directory`')
const names = z.array(z.string().min(1))

/** The settings of a `compose` component. */
export const config = z.strictObject({
  host: z
    .string()
    .regex(ADDRESS, 'expected "local" or a host as ssh takes it: "web-1", "deploy@web-2"')
    .default('local')
    .describe('"local", or the host as ssh takes it'),
  sshConfig: z.string().optional().describe("An ssh_config to use instead of the user's"),
  directory: z
    .string()
    .regex(/^\/[A-Za-z0-9._/@+-]+$/, 'expected an absolute path of letters, digits and . _ - + @')
    .describe('Folder of the project on that host'),
  project: z
    .string()
    .regex(/^[a-z0-9][a-z0-9_-]*$/, 'expected a project name as Compose takes it')
    .optional()
    .describe('Name of the project; by default that of the folder, as Compose makes it'),
  files: z.array(file()).min(1).optional().describe('The Compose files; by default those that Compose takes by itself'),
  also: z
    .array(file())
    .default(['.env'])
    .describe('Further files of variables that are captured and put back, where they are there'),
  except: z.array(service()).default([]).describe('Services of the project that are not cared for: its database'),
  orphans: z
    .enum(['remove', 'leave'])
    .default('remove')
    .describe('Containers of services that the release did not have: remove them, or leave them running'),
  docker: command().optional().describe('How docker is called on that host; `docker`, if not given'),
  compose: command()
    .optional()
    .describe('How Compose is called; `docker compose` or `docker-compose`, whichever is there'),
  secrets: names
    .default([...SECRET_NAMES])
    .describe("Variables in `also` that hold secrets, * for any part. They keep today's value: secrets get rotated"),
  pinned: names.default([]).describe('Secret variables that go back with the release all the same'),
  current: names.default([]).describe("Other variables that keep today's value"),
  exec: service()
    .optional()
    .describe('The service whose image down-scripts run in; needed where services have different images'),
  limits: z
    .strictObject({
      answer: duration().prefault('30s').describe('For one question to the host'),
      stop: duration().prefault('2m').describe('Until all containers are stopped'),
      up: duration().prefault('10m').describe('Until all containers run the release and are healthy, pulling included'),
      settle: duration().prefault('3s').describe('How long each container must have run'),
    })
    .prefault({}),
})

export type ComposeConfig = z.infer<typeof config>
