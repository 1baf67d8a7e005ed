import { rmSync } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import { openMerging } from '../../src/adapters/sqlite/merging.ts'
import { applyCarry } from '../../src/data/carry/index.ts'
import { NOTHING_SAID } from '../../src/data/carry/options.ts'
import type { Job } from '../../src/data/engine.ts'
import { carried as carry, kinds, SHOP } from '../support/carried.ts'
import { JOB, type Merge, played, rows, type Story, write } from '../support/merge.ts'

const made: string[] = []
afterEach(() => {
  for (const dir of made.splice(0)) rmSync(dir, { recursive: true })
})

function play(story: Story): Merge {
  const merge = played(story)
  made.push(merge.dir)
  return merge
}

describe('somebody who writes into ours meanwhile', () => {
  const STORY = {
    base: SHOP,
    writes: `INSERT INTO orders VALUES (3, 1, 30); UPDATE users SET name = 'Bo' WHERE id = 2`,
  }
  /** Writes while it is proven, so many times. */
  const live = (merge: Merge, times: number, text = 'proving') => {
    let left = times
    const progress = (p: { text: string }) => {
      if (!p.text.startsWith(text) || left-- <= 0) return
      write(
        merge.ours,
        `INSERT INTO users (email, age) VALUES ('u${left}', 20); UPDATE users SET age = age + 1 WHERE id = 3`,
      )
    }
    return { ...JOB, progress }
  }
  const CARRIED = [{ id: 3, total: 30, name: 'Bo' }]
  const carriedIn = (merge: Merge) =>
    rows(merge.ours, 'SELECT o.id, o.total, u.name FROM orders o, users u WHERE o.id = 3 AND u.id = 2')

  it('is not held against what was carried', async () => {
    const merge = play(STORY)
    const { proof } = await carry(merge, {}, {}, live(merge, 1))
    expect([proof.carried, carriedIn(merge)]).toEqual([2, CARRIED])
    expect(rows(merge.ours, 'SELECT age FROM users WHERE id = 3')).toEqual([{ age: 51 }])
  })

  it('is told where there is no end to it, and what was carried stays, and is proven later', async () => {
    const merge = play(STORY)
    const apply = (job: Job) => applyCarry(merge.source, NOTHING_SAID, job)
    await expect(apply(live(merge, 99))).rejects.toMatchObject({ code: 'written_meanwhile' })
    expect(carriedIn(merge)).toEqual(CARRIED)
    const { proof, carried } = await apply(JOB)
    expect([proof.ok, proof.carried, carried]).toEqual([true, 2, 0])
  })

  it('is not held against it after the process was killed, either', async () => {
    const merge = play(STORY)
    const killed = {
      ...JOB,
      progress: ({ text }: { text: string }) => {
        if (text.startsWith('proving')) throw new Error('killed')
      },
    }
    await expect(applyCarry(merge.source, NOTHING_SAID, killed)).rejects.toThrow('killed')
    write(merge.ours, `INSERT INTO users (email, age) VALUES ('late', 20)`)
    expect((await carry(merge)).proof.carried).toBe(2)
  })

  it('may have been a trigger, where they fire: it is not borne out', async () => {
    const trigger = 'CREATE TRIGGER t AFTER INSERT ON orders BEGIN UPDATE users SET age = age + 1 WHERE id = 1; END;'
    const merge = play({ ...STORY, base: `${SHOP} ${trigger}` })
    const merging = async (job: Job) => {
      const merger = await openMerging(merge.ours, 1000, merge.source.images, job)
      return Object.assign(merger, { quiet: false })
    }
    const source = { ...merge.source, merging }
    for (const job of [live(merge, 1), JOB]) {
      const { proof } = await applyCarry(source, NOTHING_SAID, job)
      expect(proof.problems).toEqual(['users: 2 rows that were not to be touched are not as they were'])
    }
  })
})

describe('an update whose row of ours', () => {
  const BASE = `CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT, name TEXT, points INTEGER DEFAULT 0, note TEXT);
    INSERT INTO users VALUES (2, 'bob', 'Bob', 0, NULL);`
  const after = async (ours: string, theirs = `note = 'VIP'`) => {
    const merge = play({ base: BASE, writes: `UPDATE users SET ${theirs} WHERE id = 2`, after: ours })
    const { listed } = await carry(merge)
    return { merge, listed: kinds(listed), note: rows(merge.ours, 'SELECT note FROM users')[0]?.['note'] }
  }
  const ANEW = `DELETE FROM users; INSERT INTO users (id, email, name) VALUES (2, 'mallory', 'Mallory')`

  it('was made anew under its number is not written into that, but by a word', async () => {
    const { merge, listed, note } = await after(ANEW)
    expect({ listed, note }).toEqual({ listed: ['users 2 changed'], note: null })
    const again = await carry(merge)
    expect([kinds(again.listed), again.carried]).toEqual([['users 2 changed'], 0])
    await carry(merge, { decisions: [{ table: 'users', key: { id: '2' }, take: 'theirs' }] })
    expect(rows(merge.ours, 'SELECT email, note FROM users')).toEqual([{ email: 'mallory', note: 'VIP' }])
  })

  it('is as it was in one cell that tells, or was changed alike on both sides, is the same row', async () => {
    expect(await after(`UPDATE users SET name = 'Robert', points = 5`)).toMatchObject({ listed: [], note: 'VIP' })
    const alike = await after(`UPDATE users SET email = 'bob2', name = 'Robert'`, `email = 'bob2', note = 'VIP'`)
    expect(alike).toMatchObject({ listed: [], note: 'VIP' })
  })

  it('has nothing that tells is taken for the same row', async () => {
    const all = `email = 'bob2', name = 'Robert', note = 'VIP'`
    expect(await after('UPDATE users SET points = 7', all)).toMatchObject({ listed: [], note: 'VIP' })
  })
})
