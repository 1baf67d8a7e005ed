import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Ask, agree, blocked, does, need, type Part } from '../../test/support/planning.ts'
import { hashOf } from './json.ts'
import type { Chosen } from './negotiate.ts'

const rungsOf = (chosen: readonly Chosen[]) => Object.fromEntries(chosen.map(c => [c.candidate.id, c.rung.id]))
const stepsOf = (chosen: readonly Chosen[]) => chosen.flatMap(c => c.proposal.steps.map(s => s.id))

describe('C12: the ladder', () => {
  it('takes the gentlest rung that is not refused, and says why not a gentler one', async () => {
    const refuses = ['leave', 'undo']
    const app: Part = {
      id: 'app',
      rungs: ['leave', 'undo', 'redeploy', 'restore'],
      propose: ask => (refuses.includes(ask.rung) ? blocked('app', `no ${ask.rung}`) : does('app', 'code', ask)),
    }
    const [chosen] = await agree([app])
    expect(chosen?.rung.id).toBe('redeploy')
    expect(chosen?.fallbacks).toEqual(['restore'])
    expect(chosen?.rejected).toEqual([
      { rung: 'leave', why: 'no leave' },
      { rung: 'undo', why: 'no undo' },
    ])
  })

  it('tells what the gentlest rung would need where none can be taken', async () => {
    const app: Part = { id: 'app', rungs: ['undo', 'restore'], propose: ask => blocked('app', `no ${ask.rung}`) }
    const [chosen] = await agree([app])
    expect(chosen?.proposal.findings).toMatchObject([{ level: 'blocker', what: 'no undo', remedy: 'mend it' }])
    expect(chosen?.proposal.steps).toEqual([])
    expect(chosen?.rejected.map(r => r.rung)).toEqual(['undo', 'restore'])
  })

  it('leaves out what was tried; with nothing left, or a rung that nobody knows, it says so', async () => {
    const app: Part = { id: 'app', rungs: ['undo', 'restore'], propose: ask => does('app', 'code', ask) }
    const without = async (...rungs: string[]) => {
      const [chosen] = await agree([app], { exclude: rungs.map(rung => ({ component: 'app', rung })) })
      return chosen
    }
    expect((await without('undo'))?.rung.id).toBe('restore')
    expect((await without('fly'))?.rung.id).toBe('undo')
    const none = await without('undo', 'restore')
    expect(none?.proposal.findings).toMatchObject([{ level: 'blocker', code: 'no_rung_left' }])
    expect(none?.proposal.findings[0]?.what).toContain('undo (it was tried in this run and failed)')
  })

  it('takes a question that failed for a refusal, and an abort for an abort', async () => {
    const stop = new AbortController()
    const app: Part = {
      id: 'app',
      rungs: ['undo', 'restore'],
      propose: ask => {
        if (ask.rung === 'undo') throw new Error('connection refused')
        return does('app', 'code', ask)
      },
    }
    const [chosen] = await agree([app])
    expect(chosen?.rejected[0]?.why).toContain('connection refused')
    stop.abort(new Error('enough'))
    await expect(agree([app], { signal: stop.signal })).rejects.toThrow('enough')
  })

  it('cannot work with an adapter that knows no way back', async () => {
    await expect(agree([{ id: 'app', rungs: [], propose: () => ({}) }])).rejects.toMatchObject({
      code: 'adapter_without_rungs',
    })
  })
})

describe('C12: needs', () => {
  const db = (asks: ReturnType<typeof need>[]): Part => ({
    id: 'db',
    rungs: ['down', 'restore'],
    propose: ask => (ask.rung === 'down' ? { ...does('db', 'data', ask), needs: asks } : does('db', 'data', ask)),
  })

  it('are served by a component that would not act otherwise', async () => {
    const app: Part = {
      id: 'app',
      dependsOn: ['db'],
      serves: ['stopped'],
      propose: ask => (ask.needs.length > 0 ? does('app', 'stop', ask) : {}),
    }
    const chosen = await agree([app, db([need('app', 'stopped')])])
    expect(stepsOf(chosen)).toEqual(['app/only', 'db/down'])
    expect(chosen[0]?.proposal.serves).toEqual([{ of: 'app', what: 'stopped', by: 'db' }])
  })

  it.each([
    ['nobody serves it', [{ id: 'app', propose: () => ({}) }], 'app does not do that'],
    ['there is no such component', [], 'gone does not do that'],
    [
      'it was not captured',
      [{ id: 'app', captured: false, propose: (ask: Ask) => does('app', 'stop', ask) }],
      'app does not',
    ],
    [
      'it refuses',
      [{ id: 'app', propose: (a: Ask) => (a.needs.length > 0 ? blocked('app', 'no') : {}) }],
      'app does not',
    ],
  ] satisfies [string, Part[], string][])(
    'that cannot be met give way to the next rung: %s',
    async (_, others, why) => {
      const of = others[0]?.id ?? 'gone'
      const chosen = await agree([...others, db([need(of, 'stopped')])])
      const last = chosen.at(-1)
      expect(last?.rung.id).toBe('restore')
      expect(last?.rejected).toMatchObject([{ rung: 'down', why: expect.stringContaining(why) as string }])
      expect(last?.proposal.findings.filter(f => f.level === 'blocker')).toEqual([])
    },
  )

  it('are blockers where no rung is left that could do without them', async () => {
    const only: Part = { id: 'db', propose: ask => ({ ...does('db', 'data', ask), needs: [need('app', 'stopped')] }) }
    const [, chosen] = await agree([{ id: 'app', propose: () => ({}) }, only])
    expect(chosen?.proposal.findings).toMatchObject([{ level: 'blocker', code: 'need_unserved', component: 'db' }])
    expect(chosen?.proposal.steps).toEqual([])
  })

  it('go through a chain, and are forgotten with the rung that had them', async () => {
    const traffic: Part = {
      id: 'traffic',
      dependsOn: ['app'],
      serves: ['drained'],
      propose: ask => (ask.needs.length > 0 ? does('traffic', 'drain', ask) : {}),
    }
    const app: Part = {
      id: 'app',
      dependsOn: ['db'],
      serves: ['stopped'],
      propose: ask =>
        ask.needs.length > 0 ? { ...does('app', 'stop', ask), needs: [need('traffic', 'drained')] } : {},
    }
    const all = await agree([traffic, app, db([need('app', 'stopped')])])
    expect(stepsOf(all)).toEqual(['traffic/only', 'app/only', 'db/down'])
    const broken: Part = { ...traffic, propose: () => blocked('traffic', 'the balancer is gone') }
    const without = await agree([broken, app, db([need('app', 'stopped')])])
    expect(rungsOf(without)).toMatchObject({ db: 'restore' })
    // Nobody asks anything of the app any more, so what it could not have done does not stand in the way.
    expect(without.map(c => c.proposal.findings.map(f => f.code))).toEqual([['no_way'], [], []])
    const fine = await agree([app, db([need('app', 'stopped'), need('nobody', 'stopped')])])
    expect(stepsOf(fine)).toEqual(['db/restore'])
  })

  it('of two components in each other end', async () => {
    const asks = (id: string, other: string): Part => ({
      id,
      propose: ask => ({ ...does(id, 'code', ask), needs: [need(other, 'redeployed')] }),
    })
    const chosen = await agree([asks('a', 'b'), asks('b', 'a')])
    expect(chosen.map(c => c.proposal.serves)).toEqual([
      [{ of: 'a', what: 'redeployed', by: 'b' }],
      [{ of: 'b', what: 'redeployed', by: 'a' }],
    ])
  })

  it('that never come to rest are said, by name', async () => {
    // a asks only while it is not asked; b asks only while it is asked.
    const a: Part = {
      id: 'a',
      propose: ask => ({ ...does('a', 'code', ask), needs: ask.needs.length > 0 ? [] : [need('b', 'stopped')] }),
    }
    const b: Part = {
      id: 'b',
      propose: ask => ({ ...does('b', 'code', ask), needs: ask.needs.length > 0 ? [need('a', 'stopped')] : [] }),
    }
    await expect(agree([a, b])).rejects.toMatchObject({
      code: 'no_agreement',
      message: expect.stringMatching(/a|b/) as string,
    })
  })

  it('come with everybody that depends on a component, nearest first, and what they serve', async () => {
    let seen: Ask | undefined
    const quiet = { propose: () => ({}) }
    await agree([
      { id: 'cdn', dependsOn: ['traffic'], ...quiet },
      { id: 'traffic', dependsOn: ['app'], serves: ['drained'], ...quiet },
      { id: 'app', dependsOn: ['db', 'cache'], serves: ['stopped'], ...quiet },
      { id: 'cache', ...quiet },
      { id: 'db', propose: ask => ((seen = ask), {}) },
    ])
    expect(seen?.dependents).toEqual([
      { id: 'app', serves: ['stopped'] },
      { id: 'traffic', serves: ['drained'] },
      { id: 'cdn', serves: [] },
    ])
    expect(seen?.dependencies).toEqual([])
  })
})

describe('C12: what was given up for the sake of others', () => {
  it('is taken after all where they no longer ask for it', async () => {
    // The database first wants the app stopped, which costs the app its gentle rung; then it is restored without.
    const app: Part = {
      id: 'app',
      rungs: ['gentle', 'hard'],
      serves: ['stopped'],
      propose: ask =>
        ask.rung === 'gentle' && ask.needs.length > 0
          ? blocked('app', 'not while it is stopped')
          : does('app', 'code', ask),
    }
    const db: Part = {
      id: 'db',
      rungs: ['down', 'restore'],
      propose: ask =>
        ask.rung === 'down'
          ? { ...does('db', 'data', ask), needs: [need('app', 'stopped'), need('nobody', 'drained')] }
          : does('db', 'data', ask),
    }
    const chosen = await agree([app, db])
    expect(rungsOf(chosen)).toEqual({ app: 'gentle', db: 'restore' })
    expect(chosen[0]).toMatchObject({ fallbacks: ['hard'], rejected: [] })
    expect(chosen[1]?.rejected.map(r => r.rung)).toEqual(['down'])
  })

  it('is taken after all where somebody serves it by another rung', async () => {
    const db: Part = {
      id: 'db',
      rungs: ['down', 'restore'],
      propose: ask =>
        ask.rung === 'down' ? { ...does('db', 'data', ask), needs: [need('app', 'stopped')] } : does('db', 'data', ask),
    }
    // The app stops nothing by its first rung, which the cache makes it give up only later.
    const app: Part = {
      id: 'app',
      rungs: ['undo', 'redeploy'],
      propose: ask => {
        if (ask.rung === 'undo' && ask.needs.some(n => n.by === 'cache')) return blocked('app', 'undo cannot redeploy')
        return { ...does('app', 'code', ask), serves: ask.rung === 'undo' ? [] : ask.needs }
      },
    }
    const cache: Part = {
      id: 'cache',
      rungs: ['keep', 'flush'],
      propose: ask =>
        ask.rung === 'keep'
          ? { ...does('cache', 'code', ask), needs: [need('nobody', 'drained')] }
          : { ...does('cache', 'code', ask), needs: [need('app', 'redeployed')] },
    }
    expect(rungsOf(await agree([app, cache, db]))).toEqual({ app: 'redeploy', cache: 'flush', db: 'down' })
  })

  it('costs no question where nothing was given up for others', async () => {
    let asked = 0
    const counted = (part: Part): Part => ({ ...part, propose: ask => (asked++, part.propose(ask)) })
    const app = counted({
      id: 'app',
      rungs: ['undo', 'redeploy'],
      propose: ask => (ask.rung === 'undo' ? blocked('app', 'gone') : does('app', 'code', ask)),
    })
    await agree([app])
    expect(asked).toBe(2)
  })
})

describe('A6: negotiation over any world', () => {
  const ids = ['a', 'b', 'c', 'd', 'e']
  const rung = fc.record({
    refuses: fc.boolean(),
    refusesNeeds: fc.boolean(),
    needs: fc.array(fc.constantFrom(...ids), { maxLength: 2 }),
    serves: fc.boolean(),
  })
  const world = fc.array(fc.array(rung, { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: ids.length })
  type World = { refuses: boolean; refusesNeeds: boolean; needs: string[]; serves: boolean }[][]

  const partsOf = (made: World): Part[] =>
    made.map((rungs, i) => {
      const id = ids[i] ?? 'z'
      return {
        id,
        rungs: rungs.map((_, n) => `r${n}`),
        propose: ask => {
          const it = rungs[Number(ask.rung.slice(1))]
          if (it === undefined || it.refuses || (it.refusesNeeds && ask.needs.length > 0)) return blocked(id, 'no')
          const serves = it.serves ? ask.needs : []
          const needs = [...new Set(it.needs)].filter(of => of !== id).map(of => need(of, 'stopped'))
          return { ...does(id, 'code', ask), serves, needs }
        },
      }
    })

  it('ends in rungs that nobody refuses and whose needs are all served, or in blockers that say why', async () => {
    await fc.assert(
      fc.asyncProperty(world, async made => {
        const chosen = await agree(partsOf(made))
        const by = new Map(chosen.map(c => [c.candidate.id, c]))
        for (const c of chosen) {
          const blockers = c.proposal.findings.filter(f => f.level === 'blocker')
          if (blockers.length > 0) expect(c.proposal.steps).toEqual([])
          for (const n of c.proposal.needs) {
            const served = by.get(n.of)?.proposal.serves.some(s => s.by === c.candidate.id && s.what === n.what)
            expect(served).toBe(true)
          }
          expect(c.rejected.length).toBeGreaterThanOrEqual(blockers.length > 0 ? 1 : 0)
        }
      }),
      { numRuns: 300 },
    )
  })

  /** Whether these rungs work together, worked out without the planner. A number past the last rung: it has none left. */
  function works(made: World, at: readonly number[]): boolean {
    const taken = made.map((rungs, i) => rungs[at[i] ?? rungs.length])
    const asksOf = (i: number) =>
      taken.some((rung, by) => by !== i && rung !== undefined && rung.needs.includes(ids[i] ?? ''))
    return taken.every((rung, i) => {
      if (rung === undefined) return true
      if (rung.refuses || (rung.refusesNeeds && asksOf(i))) return false
      return rung.needs.every(of => of === ids[i] || taken[ids.indexOf(of)]?.serves === true)
    })
  }

  it('ends where no component could take a gentler rung with the others as they are', async () => {
    await fc.assert(
      fc.asyncProperty(world, async made => {
        const chosen = await agree(partsOf(made))
        const at = chosen.map((c, i) => {
          const stuck = c.proposal.findings.some(f => f.level === 'blocker')
          return stuck ? (made[i]?.length ?? 0) : Number(c.rung.id.slice(1))
        })
        expect(works(made, at)).toBe(true)
        for (const [i, now] of at.entries()) {
          for (let gentler = 0; gentler < now; gentler++) expect(works(made, at.with(i, gentler))).toBe(false)
        }
      }),
      { numRuns: 500 },
    )
  })

  it('ends in any world, also where what is asked changes what is asked for', async () => {
    /** Components whose every answer is drawn by lot, the same each time for the same question. */
    const drawn = (seed: number, count: number): Part[] =>
      ids.slice(0, count).map(id => ({
        id,
        rungs: ['r0', 'r1', 'r2'],
        propose: ask => {
          const lot = Buffer.from(hashOf([seed, id, ask.rung, ask.needs]), 'hex')
          if ((lot[0] ?? 0) < 64) return blocked(id, 'no')
          const serves = ask.needs.filter((_, i) => (lot[1 + i] ?? 0) < 200)
          const needs = ids.filter((of, i) => of !== id && (lot[9 + i] ?? 0) < 40).map(of => need(of, 'stopped'))
          return { ...does(id, 'code', ask), serves, needs }
        },
      }))
    let agreed = 0
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.integer({ min: 1, max: 5 }), async (seed, count) => {
        const chosen = await agree(drawn(seed, count)).catch((error: { code?: string }) => {
          expect(error.code).toBe('no_agreement')
          return []
        })
        const served = new Set(chosen.flatMap(c => c.proposal.serves.map(n => `${n.by} ${n.of}`)))
        for (const { candidate, proposal } of chosen) {
          agreed++
          for (const { of } of proposal.needs) expect(served).toContain(`${candidate.id} ${of}`)
          if (proposal.findings.some(f => f.level === 'blocker')) expect(proposal.steps).toEqual([])
        }
      }),
      { numRuns: 500 },
    )
    expect(agreed).toBeGreaterThan(500)
  })

  it('is the same for the same world, whatever the order that components are written in', async () => {
    await fc.assert(
      fc.asyncProperty(world, async made => {
        const once = await agree(partsOf(made))
        const again = await agree(partsOf(made))
        const turned = await agree(partsOf(made).toReversed())
        const told = (chosen: readonly Chosen[]) =>
          hashOf(Object.fromEntries(chosen.map(c => [c.candidate.id, [c.rung.id, c.proposal.steps]])))
        expect(told(again)).toBe(told(once))
        expect(told(turned)).toBe(told(once))
      }),
      { numRuns: 200 },
    )
  })
})
