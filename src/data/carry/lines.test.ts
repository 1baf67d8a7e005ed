import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { BackoutError } from '../../core/errors.ts'
import { readLines, writeLines } from './lines.ts'

describe('a file of lines', () => {
  let dir: string
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'backout-lines-'))
  })
  afterEach(() => rm(dir, { recursive: true, force: true }))

  it('is read as it was written', async () => {
    const rows = Array.from({ length: 5_000 }, (_, i) => ({ i, pad: `${i}`.repeat(50) }))
    const file = await writeLines(dir, 'a/rows.ndjson.zst', async line => {
      for (const row of rows) await line(row)
    })
    const read: unknown[] = []
    await readLines(dir, file, line => void read.push(line))
    expect([file.lines, read]).toEqual([5_000, rows])
  })

  it('that could not be filled says why, and not that it could not be written', async () => {
    const gone = new BackoutError({ code: 'database_unreachable', what: 'The database cannot be reached' })
    const inner = async (line: (value: unknown) => Promise<void>) => {
      await line({})
      throw gone
    }
    const outer = writeLines(dir, 'filled', async () => void (await writeLines(dir, 'columns', inner)))
    await expect(outer).rejects.toBe(gone)
  })

  it('that cannot be written names the file, also to the one that is written beside it', async () => {
    await mkdir(join(dir, 'columns'))
    const full = { code: 'archive_failed', message: `${join(dir, 'columns')} could not be written` }
    const many = async (line: (value: unknown) => Promise<void>) => {
      for (let i = 0; i < 100_000; i++) await line({ i, pad: Math.random() })
    }
    await expect(writeLines(dir, 'columns', many)).rejects.toMatchObject(full)
    const beside = writeLines(dir, 'filled', async line => {
      await line({})
      await writeLines(dir, 'columns', many)
    })
    await expect(beside).rejects.toMatchObject(full)
  })
})
