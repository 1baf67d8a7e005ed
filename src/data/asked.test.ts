import { describe, expect, it } from 'vitest'
import { BackoutError } from '../core/errors.ts'
import type { Reader } from './engine.ts'
import { askedNumber } from './flow/asked.ts'

const reader = (answer: () => Promise<Record<string, unknown>[]>): { db: Reader; said: string[] } => {
  const said: string[] = []
  const query = async (sql: string) => {
    said.push(sql)
    return sql === 'SELECT' ? answer() : []
  }
  return { db: { query } as unknown as Reader, said }
}

describe('B4: what may not be askable', () => {
  it('is a number, or null where the query itself fails, and the snapshot goes on', async () => {
    expect(await askedNumber(reader(async () => [{ n: '7' }]).db, 'SELECT')).toBe(7)
    const failing = reader(() => Promise.reject(new BackoutError({ code: 'database_failed', what: 'no such column' })))
    expect(await askedNumber(failing.db, 'SELECT')).toBeNull()
    expect(failing.said).toContain('ROLLBACK TO SAVEPOINT backout_asked')
  })

  it('stops what counts where it is the database that fails: nothing is taken for uncountable that was only locked', async () => {
    const busy = new BackoutError({ code: 'database_busy', what: 'somebody holds a lock' })
    await expect(askedNumber(reader(() => Promise.reject(busy)).db, 'SELECT')).rejects.toBe(busy)
  })
})
