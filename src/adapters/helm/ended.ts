import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import type { OpenContext } from '../../core/contract.ts'
import { replaceFile } from '../../exec/atomic-file.ts'
import { groupAlive } from '../../exec/local.ts'
import type { Revision } from './cli.ts'

/** A client that a step of Backout began: what it makes is told by where it went to, and that it is gone by its group. */
const clientShape = z.object({
  revision: z.number(),
  to: z.number(),
  pgid: z.number(),
  idem: z.string(),
  host: z.string(),
})

/**
 * Operations of Backout's own helm that have ended, though Helm's record still calls them pending: a rollback whose hook fails
 * leaves it so, and so does a client that was killed with its run. Nobody is at them any more, and they need not be waited for.
 */
export async function endedHere(ctx: OpenContext, revision: Revision): Promise<boolean> {
  const known: string[] = await readdir(folder(ctx)).catch(() => [])
  return known.includes(nameOf(revision)) || diedHere(ctx, revision)
}

/** An empty file, named by the operation. */
export async function noteEnded(ctx: OpenContext, revision: Revision): Promise<void> {
  await mkdir(folder(ctx), { recursive: true })
  await writeFile(join(folder(ctx), nameOf(revision)), '')
}

/** The newest one alone: Helm lets nobody begin another operation beside a pending one but a rollback over it. */
export async function noteBegun(ctx: OpenContext, client: Omit<z.infer<typeof clientShape>, 'host'>): Promise<void> {
  await mkdir(ctx.stateDir, { recursive: true })
  const file = { content: Buffer.from(JSON.stringify({ ...client, host: hostname() })), mode: 0o600 }
  await replaceFile(begunIn(ctx), { file, idem: 'helm', before: () => {} })
}

async function diedHere(ctx: OpenContext, { revision, description }: Revision): Promise<boolean> {
  const text = await readFile(begunIn(ctx), 'utf8').catch(() => 'null')
  const client = clientShape.safeParse(parsed(text)).data
  if (client === undefined || client.host !== hostname()) return false
  if (client.revision !== revision || !description.endsWith(`Rollback to ${client.to}`)) return false
  return !(await groupAlive(client.pgid, client.idem))
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return null
  }
}

function folder({ stateDir }: OpenContext): string {
  return join(stateDir, 'helm-ended')
}

function begunIn({ stateDir }: OpenContext): string {
  return join(stateDir, 'helm-begun.json')
}

/** Where a release is uninstalled its revisions are numbered anew: the time tells them apart. */
function nameOf({ revision, updated }: Revision): string {
  return `${revision}-${Date.parse(updated)}`
}
