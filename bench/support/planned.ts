import { assemble } from '../../src/core/assemble.ts'
import { type Candidate, negotiate } from '../../src/core/negotiate.ts'
import type { Plan } from '../../src/core/plan.ts'

/** Plans for these components. Throws where the plan is blocked: what is measured must be what works. */
export async function planned(candidates: readonly Candidate[], concurrency: number): Promise<Plan> {
  const signal = new AbortController().signal
  const chosen = await negotiate({ candidates, release: 'A', upgradedAt: null, mode: 'full', exclude: [], signal })
  const plan = assemble({
    environment: 'bench',
    mode: 'full',
    from: 'B',
    to: { release: 'A', capture: 'c1' },
    parent: null,
    chosen,
    findings: [],
    hooks: [],
    gates: ['healthy'],
    verify: [],
    watch: null,
    onFailure: 'ask',
    concurrency,
    headroomPercent: 10,
    accepted: null,
    configHash: 'config',
    made: { at: '2026-01-01T00:00:00.000Z', by: 'bench', version: '0' },
  })
  const blocker = plan.findings.find(f => f.level === 'blocker')
  if (blocker !== undefined) throw new Error(`the plan is blocked: ${blocker.what}`)
  return plan
}
