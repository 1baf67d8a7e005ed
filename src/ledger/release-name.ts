import { createHash } from 'node:crypto'
import { BackoutError } from '../core/errors.ts'

/** No path: `.` and `..` would lead out of the folder. Nothing that a terminal takes for a command. */
const RELEASE_NAME = /^(?!\.{1,2}$)(?!.*\s$)[^\s/\\\p{Cc}\p{Cs}][^\p{Cc}\p{Cs}]{0,127}$/u

export function refuseName(name: string): void {
  if (RELEASE_NAME.test(name)) return
  const what = `"${name}" cannot be the name of a release`
  throw new BackoutError({ code: 'release_name', what, next: 'use a name such as v1.2.9', exit: 'usage' })
}

/** What stands for something else wherever a release is named: what runs now, and where a run has begun. */
export function refuseOwnName(name: string): void {
  if (name !== 'now' && !/^departure-r\d/.test(name)) return
  const what = `"${name}" is no name for a release: ${name === 'now' ? 'it stands for what runs now' : 'runs keep under such names where they have begun'}`
  throw new BackoutError({ code: 'release_name', what, next: 'use a name such as v1.2.9', exit: 'usage' })
}

/** Names in file systems end at 255 bytes: a longer one goes by its hash, and its captures say what it is. */
export function folderOf(release: string): string {
  const name = encodeURIComponent(release)
  return name.length <= 200 ? name : `%-${createHash('sha256').update(release).digest('hex').slice(0, 40)}`
}

/** The name by a folder alone, where no capture in it can be believed. */
export function nameOf(folder: string): string {
  try {
    return decodeURIComponent(folder)
  } catch {
    return folder
  }
}
