import type { Config } from '../../config/load.ts'
import type { Step, Target } from '../../core/contract.ts'
import { BackoutError } from '../../core/errors.ts'
import type { Json } from '../../core/json.ts'
import { redact, reveal } from '../../core/secret.ts'
import { PHASES, type Phase } from '../../core/words.ts'
import { groupAlive, runLocal } from '../../exec/local.ts'
import { withoutRows } from '../../exec/without-rows.ts'

/** The name that the user's own hooks have among the components. */
export const HOOKS = '$hooks'

type When = 'before' | 'after'

/** A step for each hook of the file. */
export function hookSteps(config: Config): { phase: Phase; when: When; step: Step }[] {
  return PHASES.flatMap(phase =>
    (['before', 'after'] as const).flatMap(when => {
      const hook = config.hooks[phase]?.[when]
      if (hook === undefined) return []
      const step: Step = {
        id: `${HOOKS}/${when}/${phase}`,
        component: HOOKS,
        title: `your hook ${when} ${phase}`,
        args: { phase, when },
        limitMs: hook.limit,
        retries: 0,
        estimateMs: 1_000,
        onUnknown: hook.repeat ? 'repeat' : 'ask',
      }
      return [{ phase, when, step }]
    }),
  )
}

interface Handle {
  readonly pgid: number
  readonly code: number | null
}

/** Runs the hooks. There is nobody to ask what became of one: its end is known only to the process that saw it. */
export function hooksTarget(config: Config): Target<Json> {
  return {
    rungs: [],
    serves: [],
    observe: async () => ({ identity: HOOKS, state: null, detail: null, summary: '', inFlight: [] }),
    capture: async () => null,
    propose: async () => {
      throw new BackoutError({ code: 'no_proposals', what: 'Hooks propose nothing', exit: 'internal' })
    },
    async apply(step, act) {
      const { phase, when } = step.args as { phase: Phase; when: When }
      const hook = config.hooks[phase]?.[when]
      if (hook === undefined)
        throw new BackoutError({
          code: 'hook_gone',
          what: `There is no hook ${when} ${phase} any more`,
          next: 'put it back into backout.yaml, or make a new plan',
        })
      act.guard()
      let pgid = 0
      const result = await runLocal(
        {
          argv: hook.run.map(reveal),
          cwd: config.baseDir,
          env: { BACKOUT_ENVIRONMENT: config.environment, BACKOUT_PHASE: phase, BACKOUT_WHEN: when },
          limitMs: hook.limit,
          idem: act.idem,
          onSpawn: async group => {
            pgid = group
            await act.note({ pgid, code: null })
          },
        },
        act.signal,
      )
      await act.note({ pgid, code: result.code })
      if (result.code === 0) return
      throw new BackoutError({
        code: 'hook_failed',
        what: `The hook ${when} ${phase} ended with ${result.code}`,
        cause: redact(withoutRows(result.stderr).trim().split('\n').slice(-5).join('\n')) || undefined,
        next: 'mend what it names, then resume; or skip it with a reason',
        exit: 'failed',
      })
    },
    async verify(step, act) {
      const handle = act.handle as Handle | null
      if (handle === null) return { is: 'not-done', why: 'it was never begun' }
      if (handle.code === 0 && act.earlier && step.onUnknown === 'repeat')
        return { is: 'not-done', why: 'it ended with 0 in an earlier pass' }
      if (handle.code === 0) return { is: 'done', why: 'it ended with 0' }
      if (handle.code !== null) return { is: 'not-done', why: `it ended with ${handle.code}` }
      if (await groupAlive(handle.pgid, act.idem))
        return { is: 'running', why: `process group ${handle.pgid} is alive` }
      return { is: 'unknown', why: 'it was begun, and nobody saw its end' }
    },
    [Symbol.asyncDispose]: async () => {},
  }
}
