import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { OpenContext } from '../../core/contract.ts'
import type { Revision } from './cli.ts'

/**
 * Operations of Backout's own helm that have ended, though Helm's record still calls them pending: a rollback whose hook fails
 * leaves it so. Nobody is at them any more, and they need not be waited for. Each is an empty file, named by the operation.
 */
export async function endedHere({ stateDir }: OpenContext): Promise<(revision: Revision) => boolean> {
  const known = new Set(await readdir(folder(stateDir)).catch(() => []))
  return revision => known.has(nameOf(revision))
}

export async function noteEnded({ stateDir }: OpenContext, revision: Revision): Promise<void> {
  await mkdir(folder(stateDir), { recursive: true })
  await writeFile(join(folder(stateDir), nameOf(revision)), '')
}

function folder(stateDir: string): string {
  return join(stateDir, 'helm-ended')
}

/** Where a release is uninstalled its revisions are numbered anew: the time tells them apart. */
function nameOf({ revision, updated }: Revision): string {
  return `${revision}-${Date.parse(updated)}`
}
