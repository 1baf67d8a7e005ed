import { z } from 'zod'
import type { StepAct, Verdict } from '../core/contract.ts'
import { BackoutError, messageOf, PLAN_ANEW } from '../core/errors.ts'
import { readWhole, replaceFile, type WholeFile } from './atomic-file.ts'

/** Whose a captured file was: that is what it becomes again where it is gone. Pins of before do not have it. */
export const owner = z.object({ uid: z.number(), gid: z.number() }).optional()

export function ownerOf({ uid, gid }: WholeFile): { uid: number; gid: number } {
  return { uid, gid }
}

interface Write {
  readonly path: string
  /** Names what is sealed, for people. */
  readonly label: string
  /** What stood there when `content` was made; null: nothing did. */
  readonly now: WholeFile | null
  readonly content: Buffer
  /** The keyed hash that the plan reckons with. */
  readonly mac: string
  readonly mode: number
  /** Of a file that is not there now. */
  readonly owner?: { uid: number; gid: number } | undefined
}

/**
 * Puts content in the place of a file whose old content goes into the vault. Throws `file_moved` where the file, or what
 * its new content is made of, is not what the plan looked at.
 */
export async function writeFile({ path, label, now, content, mac, mode, owner }: Write, act: StepAct): Promise<void> {
  if (act.vault.mac(content) !== mac) throw moved(path)
  act.guard()
  if (now !== null) {
    const { id } = await act.vault.seal(now.content, `${label}: ${path} before ${act.idem}`)
    await act.tell({ kind: 'kept', text: `${path} as it was is in the vault as ${id}`, data: { path, sealed: id } })
  }
  const before = async () => {
    const still = await readWhole(path)
    const same = now === null ? still === null : still?.content.equals(now.content) === true
    if (!same) throw moved(path)
    act.signal.throwIfAborted()
    act.guard()
  }
  await replaceFile(path, { file: { ...(now ?? owner), content, mode }, idem: act.idem, before })
}

function moved(path: string): BackoutError {
  return new BackoutError({
    code: 'file_moved',
    what: `${path} was changed since the plan looked at it; it was left alone`,
    next: PLAN_ANEW,
    exit: 'moved',
  })
}

export async function verifyFile(path: string, mac: string, act: StepAct): Promise<Verdict> {
  try {
    const file = await readWhole(path)
    if (file === null) return { is: 'not-done', why: `there is no file ${path}` }
    const done = act.vault.mac(file.content) === mac
    return done ? { is: 'done', why: 'the content is there' } : { is: 'not-done', why: 'the content is another one' }
  } catch (error) {
    return { is: 'unknown', why: messageOf(error) }
  }
}
