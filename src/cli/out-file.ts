import { stat } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { BackoutError } from '../core/errors.ts'
import { writeWhole } from '../ledger/files.ts'

/** Writes a file that somebody named, whole or not at all. Throws `file_unwritable`. */
export async function writeNamed(path: string, text: string, mode: number): Promise<void> {
  const file = resolve(path)
  const found = await stat(file).catch(() => null)
  const folder = await stat(dirname(file)).catch(() => null)
  if (found?.isDirectory() === true) throw unwritable(file, 'it is a folder', `name a file in it: ${path}/FILE`)
  if (folder?.isDirectory() !== true)
    throw unwritable(file, `there is no folder ${dirname(file)}`, `mkdir -p ${dirname(file)}`)
  await writeWhole(file, text, mode).catch((error: Error) => {
    throw unwritable(
      file,
      error.message,
      'look at the rights of the folder and the room on its disk; or name another file',
    )
  })
}

function unwritable(file: string, cause: string, next: string): BackoutError {
  return new BackoutError({ code: 'file_unwritable', what: `${file} cannot be written`, cause, next, exit: 'usage' })
}
