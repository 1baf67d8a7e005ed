import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { z } from 'zod'
import type { OpenContext } from '../../core/contract.ts'
import { BackoutError, messageOf } from '../../core/errors.ts'
import { redact, reveal } from '../../core/secret.ts'
import { runLocal } from '../../exec/local.ts'
import { ADDRESS, type HostsConfig, hostName, type Source } from './config.ts'

/** One host of the fleet, wherever it was named. */
export interface Member {
  /** In messages and step ids; fills {host}. */
  readonly name: string
  /** As ssh takes it; null = this machine. */
  readonly address: string | null
  readonly sshConfig?: string | undefined
}

/** Milliseconds that a command which names the hosts may take. */
const LIMIT_MS = 30_000
/** All of a large fleet must come whole: a list cut off would leave hosts out. */
const KEEP_BYTES = 16 * 1024 * 1024

/** The hosts as the settings, a file, an inventory or a command name them. Throws `hosts_unknown` where they cannot be told. */
export async function membersOf(config: HostsConfig, ctx: OpenContext): Promise<Member[]> {
  const { hosts } = config
  const members = Array.isArray(hosts) ? hosts.map(listed) : await found(hosts, ctx)
  if (members.length === 0) throw unknown(ctx, hosts as Source, 'it names no host')
  const names = members.map(member => member.name)
  const twice = names.find((name, i) => names.indexOf(name) !== i)
  if (twice !== undefined) throw unknown(ctx, hosts as Source, `it names two hosts "${twice}"`)
  return members
}

function found(source: Source, ctx: OpenContext): Promise<Member[]> {
  if ('file' in source) return fromFile(source, ctx)
  return 'inventory' in source ? fromInventory(source, ctx) : fromCommand(source, ctx)
}

type Listed = Extract<HostsConfig['hosts'], unknown[]>[number]

function listed(entry: Listed): Member {
  if (entry === 'local') return { name: 'local', address: null }
  if (typeof entry === 'string') return { name: hostName(entry), address: entry }
  return { name: entry.name, address: entry.address ?? entry.name, sshConfig: entry.sshConfig }
}

async function fromFile(source: Extract<Source, { file: string }>, ctx: OpenContext): Promise<Member[]> {
  const path = resolve(ctx.baseDir, source.file)
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    throw unknown(ctx, source, messageOf(error))
  })
  return lines(text, (line, why) => unknown(ctx, source, `${path}:${line}: ${why}`))
}

async function fromCommand(source: Extract<Source, { command: unknown }>, ctx: OpenContext): Promise<Member[]> {
  const said = await ask(source.command.map(reveal), source, ctx)
  return lines(said, (line, why) => unknown(ctx, source, `line ${line} of what it printed: ${why}`))
}

/** One host a line, as in the list; empty lines and what comes after # are left out. */
function lines(text: string, wrong: (line: number, why: string) => BackoutError): Member[] {
  return text.split(/\r?\n/).flatMap((line, i) => {
    const entry = line.replace(/(^|\s)#.*$/, '').trim()
    if (entry === '') return []
    if (!ADDRESS.test(entry)) throw wrong(i + 1, `"${entry.slice(0, 60)}" is no host as ssh takes it`)
    return [listed(entry)]
  })
}

const text = z.coerce.string()
const variables = z.object({
  ansible_host: text.optional(),
  ansible_user: text.optional(),
  ansible_ssh_user: text.optional(),
  ansible_port: text.optional(),
  ansible_connection: text.optional(),
})
const group = z.object({ hosts: z.array(z.string()).default([]), children: z.array(z.string()).default([]) })
const inventory = z
  .object({ _meta: z.object({ hostvars: z.record(z.string(), variables).default({}) }) })
  .catchall(z.unknown())

/** Asks Ansible itself, which alone knows all that an inventory can hold: ranges, children, plugins, scripts. */
async function fromInventory(source: Extract<Source, { inventory: string }>, ctx: OpenContext): Promise<Member[]> {
  // Ansible itself only warns of a file that is not there. A list with commas is none.
  const path = resolve(ctx.baseDir, source.inventory)
  if (!source.inventory.includes(',') && !existsSync(path)) throw unknown(ctx, source, `there is no ${path}`)
  const said = await ask(['ansible-inventory', '-i', source.inventory, '--list'], source, ctx)
  try {
    const all = inventory.parse(JSON.parse(said))
    const names = hostsOf(source.group, all, new Set())
    if (names === null) throw new Error(`it has no group "${source.group}"`)
    return [...new Set(names)].map(name => fromVariables(name, all._meta.hostvars[name] ?? {}))
  } catch (error) {
    throw unknown(ctx, source, messageOf(error))
  }
}

function hostsOf(name: string, all: Record<string, unknown>, seen: Set<string>): string[] | null {
  if (seen.has(name)) return []
  seen.add(name)
  const known = group.safeParse(all[name])
  if (all[name] === undefined || !known.success) return null
  return [...known.data.hosts, ...known.data.children.flatMap(child => hostsOf(child, all, seen) ?? [])]
}

function fromVariables(name: string, vars: z.infer<typeof variables>): Member {
  const named = hostName(name)
  if (vars.ansible_connection === 'local') return { name: named, address: null }
  const host = vars.ansible_host ?? name
  const user = vars.ansible_user ?? vars.ansible_ssh_user
  const address = `${user === undefined ? '' : `${user}@`}${host}`
  if (!ADDRESS.test(address))
    throw new Error(`${name} is at "${address.slice(0, 60)}", which is no host as ssh takes it`)
  if (vars.ansible_port === undefined) return { name: named, address }
  if (!/^\d{1,5}$/.test(vars.ansible_port)) throw new Error(`${name} has the port "${vars.ansible_port}"`)
  return {
    name: named,
    address: `ssh://${host.includes(':') ? address.replace(host, `[${host}]`) : address}:${vars.ansible_port}`,
  }
}

async function ask(argv: string[], source: Source, ctx: OpenContext): Promise<string> {
  const command = { argv, cwd: ctx.baseDir, limitMs: LIMIT_MS, keepBytes: KEEP_BYTES, idem: 'backout-hosts' }
  const { code, stdout, stderr } = await runLocal(command).catch((error: unknown) => {
    throw unknown(ctx, source, messageOf(error))
  })
  if (code === 0) return stdout
  const missing = code === 127 ? `${argv[0]} is not there` : `${argv[0]} ended with ${code}`
  throw unknown(ctx, source, `${missing}: ${redact(stderr.trim().slice(-500))}`)
}

function unknown(ctx: OpenContext, source: Source, cause: string): BackoutError {
  const from = Array.isArray(source)
    ? 'its list'
    : 'file' in source
      ? `the file ${source.file}`
      : 'inventory' in source
        ? `the inventory ${source.inventory}`
        : 'its command'
  return new BackoutError({
    code: 'hosts_unknown',
    what: `Nobody can say which hosts ${ctx.component} has, from ${from}`,
    cause,
    next:
      'inventory' in source
        ? `make \`ansible-inventory -i ${source.inventory} --list\` work in ${ctx.baseDir} (Debian: apt-get install ansible-core), or name the hosts in a list`
        : 'mend it, or name the hosts in a list; nothing was touched',
    exit: 'blocked',
  })
}
