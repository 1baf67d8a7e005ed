import { cp, open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { makeToy, type Toy } from '../support/toy.ts'

let toy: Toy
beforeEach(async () => {
  toy = await makeToy()
  expect((await toy.backout(['capture', 'v1', '--known-good'])).code).toBe(0)
  await toy.release('v2')
  expect((await toy.backout(['run', '--yes'])).code).toBe(0)
})
afterEach(() => toy[Symbol.asyncDispose]())

const journal = (name = '') => join(toy.folder, '.backout', `journal.db${name}`)

/** The pages where the runs begin, of the table and of its indexes; what opening looks at is whole. */
async function overwriteRuns(): Promise<void> {
  const db = new DatabaseSync(journal())
  const roots = db.prepare("SELECT rootpage FROM sqlite_schema WHERE tbl_name = 'runs' AND rootpage > 1").all()
  const { page_size: size } = db.prepare('PRAGMA page_size').get() as { page_size: number }
  db.close()
  const file = await open(journal(), 'r+')
  for (const { rootpage } of roots as { rootpage: number }[]) {
    await file.write(Buffer.alloc(size, 0x5a), 0, size, (rootpage - 1) * size)
  }
  await file.close()
}

describe('a journal that cannot be believed, or lies elsewhere', () => {
  it('does not call a damaged journal one without runs', async () => {
    await overwriteRuns()
    const said = await toy.backout(['status'])
    expect(said).toMatchObject({ code: 9, stderr: expect.stringContaining('journal_unreadable') })
    expect(said.stdout).not.toContain('no run yet')
  })

  it('opens a copy of the home in another place, with the keys that lie beside its own', async () => {
    await cp(join(toy.folder, '.backout'), join(toy.folder, 'aside'), { recursive: true })
    const there = { BACKOUT_HOME: join(toy.folder, 'aside') }
    const first = await toy.backout(['status'], there)
    expect(first).toMatchObject({ code: 0, stdout: expect.stringContaining('v1, succeeded') })
    expect(first.stderr).toMatch(/^The home was moved or copied: its keys were found in \S+, and copied to \S+\n$/)
    expect(await toy.backout(['audit', 'verify'], there)).toMatchObject({ code: 0, stderr: '' })
  })

  it('says that events are lost where the journal was put aside, and so does a plan', async () => {
    for (const part of ['', '-wal', '-shm']) await rm(journal(part), { force: true })
    const said = await toy.backout(['status'])
    expect(said).toMatchObject({ code: 0, stdout: expect.stringContaining('no run yet') })
    expect(said.stderr).toMatch(/holds 0 events, and once held \d+: it was lost, cut or put aside/)
    expect((await toy.backout(['plan'])).stderr).toContain('holds 0 events')
  })
})
