import { z } from 'zod'
import { command, duration } from '../../config/fields.ts'

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]*$/
/** A host as ssh takes it. */
export const ADDRESS = /^[A-Za-z0-9][A-Za-z0-9._@:%-]*$/

const host = z.union([
  z.string().regex(ADDRESS, 'expected "local" or a host as ssh takes it: "web-1", "deploy@web-2"'),
  z.strictObject({
    name: z.string().regex(NAME).describe('Name in messages and step ids; fills {host}'),
    address: z.string().regex(ADDRESS).optional().describe('The host as ssh takes it; the name, if not given'),
    sshConfig: z.string().optional().describe('An ssh_config for this host alone'),
  }),
])

const systemd = z.strictObject({
  systemd: z
    .string()
    .regex(/^[A-Za-z0-9@._:{}-]+$/)
    .describe('The unit: "shop.service", "shop@{instance}.service"'),
  sudo: z.boolean().default(false).describe('Call systemctl through `sudo -n`'),
  user: z.boolean().default(false).describe("A unit of the user's own manager: `systemctl --user`"),
})

const commands = z.strictObject({
  start: command().describe('Starts it and returns; exit code 0 alone is not believed'),
  stop: command().describe('Stops it'),
  status: command().describe('Exit code 0: running, 3: stopped. Anything else: unknown'),
  restart: command().optional().describe('Restarts it; stop and start, if not given'),
})

const inFlight = z.strictObject({
  check: command()
    .optional()
    .describe(
      'Exit code 0 = a deployment is under way, stdout says which. Above 125 nobody can tell, which counts as one',
    ),
  stop: command()
    .optional()
    .describe('Ends it, before anything else is touched; the check must say so afterwards, and .deploying be gone'),
  on: z
    .enum(['hosts', 'here'])
    .default('hosts')
    .describe('Where both are run: on each host in `root`, or on this machine beside backout.yaml'),
})

const source = z.union([
  z.strictObject({ file: z.string().describe('A file with one host a line, relative to backout.yaml') }),
  z.strictObject({
    inventory: z.string().describe('An Ansible inventory, relative to backout.yaml; asked through ansible-inventory'),
    group: z.string().default('all').describe('The group in it whose hosts these are'),
  }),
  z.strictObject({ command: command().describe('Run on this machine: prints one host a line') }),
])
export type Source = z.infer<typeof source>

const size = z.union([
  z.number().int().positive(),
  z.string().regex(/^(100|[1-9]\d?)%$/, 'expected a number or a percentage such as "25%"'),
])
export type Size = z.infer<typeof size>

/** The settings of a `hosts` component. */
export const config = z
  .strictObject({
    hosts: z
      .union([z.array(host).min(1), source])
      .describe(
        '"local" or hosts as ssh takes them; or the file, the Ansible inventory or the command that names them',
      ),
    sshConfig: z.string().optional().describe("An ssh_config to use instead of the user's"),
    root: z
      .string()
      .regex(/^\/[A-Za-z0-9._/@{}+-]+$/, 'expected an absolute path of letters, digits and . _ - + @')
      .describe('Folder on the hosts that holds releases/ and the link; {host} is filled in'),
    strategy: z
      .enum(['symlink', 'blue-green'])
      .default('symlink')
      .describe(
        'symlink: releases/<name> and the link `current`. blue-green: folders blue and green, and the link `live`',
      ),
    link: z.string().regex(NAME).optional().describe('Name of the link: `current`, or `live` for blue-green'),
    releaseFile: z
      .string()
      .regex(NAME)
      .default('RELEASE')
      .describe('blue-green: first line of this file names the release of a slot'),
    manifest: z
      .string()
      .regex(NAME)
      .default('MANIFEST.sha256')
      .describe('Checksums in each release folder, as sha256sum writes them'),
    ignore: z
      .array(z.string().regex(/^[A-Za-z0-9._*?-]+$/))
      .default(['*.log', '*.pid', 'log', 'logs', 'tmp', '.cache'])
      .describe('Names left out of own checksums where a release has no manifest: what a release writes while it runs'),
    instances: z
      .array(z.string().regex(NAME))
      .min(1)
      .optional()
      .describe('Several processes on each host; fills {instance}'),
    service: z
      .union([systemd, commands])
      .optional()
      .describe('How it is started and stopped; none for files that are only served'),
    reload: command().optional().describe('Run on the host right after the link was switched'),
    version: command().optional().describe('Prints the version that runs, of one instance'),
    stopLeft: z.boolean().default(true).describe('blue-green with a service a slot: stop the slot that was left'),
    batch: z
      .union([size, z.array(size).min(1)])
      .default(1)
      .describe(
        'How many hosts at a time when rolling. A list: the first batch (a canary), the next ones, the last for all others',
      ),
    batchGate: z.string().optional().describe('Name of a gate in backout.yaml that must hold between batches'),
    batchGateFor: duration().prefault('0s').describe('How long that gate must go on holding'),
    exec: z
      .string()
      .optional()
      .describe('The host whose release down-scripts run in, where hosts are left with several; any, if not given'),
    maxFailures: z
      .number()
      .int()
      .nonnegative()
      .optional()
      .describe('How many of all hosts may fail or be out of reach before it stops; 0, if not given'),
    stopAt: size
      .optional()
      .describe('Instead of maxFailures: stops once so many of all hosts have failed or are out of reach'),
    concurrency: z
      .number()
      .int()
      .positive()
      .default(10)
      .describe('How many hosts are worked on at the same time at most'),
    drain: z.boolean().default(false).describe('Take traffic away before restarting, even when rolling'),
    fence: command().optional().describe('Run on this machine: takes {host} out of traffic'),
    inFlight: z
      .union([command(), inFlight])
      .optional()
      .describe(
        'How a deployment that is under way is seen, besides the file .deploying: a command as `check` below, or check and stop',
      ),
    limits: z
      .strictObject({
        connect: duration().prefault('10s').describe('To connect'),
        status: duration().prefault('15s').describe('For all status and version commands of a host'),
        start: duration().prefault('60s').describe('Until it runs and says its version'),
        stop: duration().prefault('60s').describe('Until it is stopped'),
        switch: duration().prefault('5m').describe('Checksums and the switch'),
        settle: duration().prefault('3s').describe('How long it must still run after it first did'),
      })
      .prefault({}),
  })
  .superRefine((value, ctx) => {
    if (value.stopAt !== undefined && value.maxFailures !== undefined) {
      const message = 'maxFailures and stopAt say the same in two ways: give one of them'
      ctx.addIssue({ code: 'custom', path: ['stopAt'], message })
    }
    const names = Array.isArray(value.hosts) ? value.hosts.map(hostName) : []
    const twice = names.find((name, i) => names.indexOf(name) !== i)
    if (twice !== undefined) {
      ctx.addIssue({
        code: 'custom',
        path: ['hosts'],
        message: `two hosts are named "${twice}": give them a name each`,
      })
    }
  })

export type HostsConfig = z.infer<typeof config>

/** "deploy@web-2" is called web-2. */
export function hostName(entry: string | { name: string }): string {
  return typeof entry === 'string'
    ? entry.slice(entry.indexOf('@') + 1).replaceAll(/[^A-Za-z0-9._-]/g, '-')
    : entry.name
}
