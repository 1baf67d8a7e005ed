import { execFileSync } from 'node:child_process'
import {
  chmod,
  chown,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { readWhole, replaceFile } from './atomic-file.ts'

const NOBODY = 65534
const isRoot = process.getuid?.() === 0

/** As another user of this machine; only root can become one. */
async function asNobody<T>(act: () => Promise<T>): Promise<T> {
  process.setegid?.(NOBODY)
  process.seteuid?.(NOBODY)
  try {
    return await act()
  } finally {
    process.seteuid?.(0)
    process.setegid?.(0)
  }
}

describe('C10: a file put in place at once', () => {
  let dir: string
  const at = (name: string) => join(dir, name)
  const put = (name: string, more: object = {}) =>
    replaceFile(at(name), { file: { content: Buffer.from('new'), mode: 0o640, ...more }, idem: 'r1', before: () => {} })

  beforeEach(async () => {
    // Not in the folder of all tests, which nobody else may enter.
    dir = await mkdtemp('/tmp/backout-file-')
  })
  afterEach(() => rm(dir, { recursive: true, force: true }))

  it('follows a link that leads nowhere yet, and leaves the link', async () => {
    await mkdir(at('real'))
    await symlink('real/file', at('second'))
    await symlink(at('second'), at('first'))
    expect(await readWhole(at('first'))).toBeNull()
    await put('first')
    expect((await lstat(at('first'))).isSymbolicLink()).toBe(true)
    expect(await readlink(at('second'))).toBe('real/file')
    expect(await readFile(at('real/file'), 'utf8')).toBe('new')
    expect((await readdir(dir)).sort()).toEqual(['first', 'real', 'second'])
  })

  it('does not take a link that leads round for a file that is missing', async () => {
    await symlink('b', at('a'))
    await symlink('a', at('b'))
    await expect(put('a')).rejects.toMatchObject({ code: 'file_not_replaced' })
    expect((await lstat(at('a'))).isSymbolicLink()).toBe(true)
  })

  it('reads no pipe, which would never end', async () => {
    execFileSync('mkfifo', [at('pipe')])
    await expect(readWhole(at('pipe'))).rejects.toMatchObject({ code: 'file_unreadable', why: 'it is no regular file' })
  })

  it.skipIf(!isRoot)('refuses where the owner could not be kept, and says so; the file is as it was', async () => {
    await chmod(dir, 0o777)
    await writeFile(at('file'), 'old', { mode: 0o644 })
    await chown(at('file'), 1, 1)
    const refused = asNobody(() => put('file', { uid: 1, gid: 1 }))
    await expect(refused).rejects.toMatchObject({ code: 'file_not_replaced', next: expect.stringContaining('owner') })
    expect(await readFile(at('file'), 'utf8')).toBe('old')
    expect(await readdir(dir)).toEqual(['file'])
    await asNobody(() => put('own', { uid: NOBODY, gid: NOBODY }))
    const { uid, gid, mode } = await stat(at('own'))
    expect({ uid, gid, mode: mode & 0o777 }).toEqual({ uid: NOBODY, gid: NOBODY, mode: 0o640 })
  })
})
