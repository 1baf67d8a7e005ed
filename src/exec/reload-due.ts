import { mkdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { OpenContext, Step, StepAct } from '../core/contract.ts'
import { reveal, type Text } from '../core/secret.ts'
import { replaceFile, type WholeFile } from './atomic-file.ts'
import { applyCommand, commandStep } from './command-step.ts'

/** Where a component notes what it has put in place and nobody was told to read yet. */
interface Place {
  readonly baseDir: string
  readonly stateDir: string
}

function markOf({ stateDir }: Place): string {
  return join(stateDir, 'reload.due')
}

/** What was put in place, or was about to be, since a reload ended well last. */
export async function dueIn(place: Place): Promise<string[]> {
  try {
    return (await readFile(markOf(place), 'utf8')).split('\n').filter(Boolean)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

/**
 * Notes durably that `what` is to be read anew; before it is put in place, for afterwards only this tells. It stays until
 * a reload ended well, of whatever run: content that is right says nothing about who has read it.
 */
export async function noteDue(place: Place, what: string, act: StepAct): Promise<void> {
  const due = [...new Set([...(await dueIn(place)), what])]
  act.guard()
  await mkdir(place.stateDir, { recursive: true, mode: 0o700 })
  const file = { content: Buffer.from(`${due.join('\n')}\n`), mode: 0o600 }
  await replaceFile(markOf(place), { file, idem: act.idem, before: () => act.guard() })
}

/** Runs the reload; once it ended well nothing is due any more. */
export async function applyReload(step: Step, argv: readonly Text[], place: Place, act: StepAct): Promise<void> {
  const then = () => rm(markOf(place), { force: true })
  await applyCommand(step, { argv: argv.map(reveal), cwd: place.baseDir, then }, act)
}

/** A component that is one file, and a command that has it read again. */
interface FileSite {
  readonly config: {
    readonly path: string
    readonly reload?: readonly Text[] | undefined
    readonly reloadLimit: number
  }
  readonly ctx: OpenContext
}

/**
 * A run has put something in place, and no reload ended well since: nobody knows what is read. Whatever stands in the file by
 * now: that an agent rotated a secret in it tells nothing of who has read the rest. A reload too many does no harm.
 */
export async function fileDue({ config, ctx }: FileSite, file: WholeFile | null): Promise<boolean> {
  if (config.reload === undefined || file === null) return false
  return (await dueIn(ctx)).length > 0
}

export function fileReload({ config, ctx: { component } }: FileSite): Step {
  const title = `reload after ${config.path}`
  return commandStep({ id: `${component}/reload`, component, title, limitMs: config.reloadLimit })
}
