import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { BackoutError } from '../core/errors.ts'

/** Nobody writes so much by hand; what is bigger is another file. Bytes. */
const MOST_BYTES = 1024 * 1024

/** The text of the file, without a byte order mark. Throws `config_unreadable`. */
export async function readConfig(file: string): Promise<string> {
  // Opened without waiting: a pipe that nobody writes to would hold the command for ever.
  const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK).catch((error: unknown) => {
    throw unreadable(file, ...whyNot(error as NodeJS.ErrnoException))
  })
  try {
    const found = await handle.stat()
    if (found.isDirectory()) throw unreadable(file, 'it is a folder', `name the file in it: --config ${file}/FILE`)
    if (!found.isFile()) throw unreadable(file, 'it is no file (a pipe, a device)', 'name a file: --config FILE')
    if (found.size > MOST_BYTES) {
      const mib = (found.size / MOST_BYTES).toFixed(1)
      throw unreadable(file, `it has ${mib} MiB, and 1 MiB is the most that a configuration may have`, OTHER)
    }
    const text = await handle.readFile('utf8')
    if (text.includes('\0')) throw unreadable(file, 'it is no text in UTF-8', `save it as UTF-8; ${OTHER}`)
    return text.replace(/^\uFEFF/, '')
  } finally {
    await handle.close()
  }
}

const OTHER = 'or name another file: --config FILE'

function whyNot({ code, message }: NodeJS.ErrnoException): [cause: string, next: string] {
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    return ['it is not there', 'backout init writes one; or name yours: --config FILE']
  }
  if (code === 'EACCES' || code === 'EPERM') {
    return ['this user may not read it', `give the user the right to read it; ${OTHER}`]
  }
  return [message, OTHER]
}

function unreadable(file: string, cause: string, next: string): BackoutError {
  return new BackoutError({ code: 'config_unreadable', what: `${file} cannot be read`, cause, next, exit: 'usage' })
}
