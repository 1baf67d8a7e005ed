import { systemClock } from '../../core/clock.ts'
import type { StepAct } from '../../core/contract.ts'
import { BackoutError } from '../../core/errors.ts'
import { Conflict } from '../api/errors.ts'
import { corePath, type Metadata, type Workload } from '../api/objects.ts'
import { currentOf, lookAt, type Seen } from '../look.ts'
import { isObserved } from '../rollout.ts'
import type { Site } from '../site.ts'
import { alive, ready, rolloutOf } from '../status.ts'
import type { RollArgs } from '../steps.ts'

/** A budget is asked again after this: it changes when pods do, and not by being asked. */
const ASK_AGAIN_MS = 1_000

/**
 * Deletes pods of another revision that their controller would leave: those that are not ready and hold a StatefulSet up, or
 * with `OnDelete` one after the other, each once all others are available.
 */
export class Replacing {
  readonly #site: Site
  readonly #how: RollArgs['replace']
  readonly #act: StepAct
  #refused: { why: string; at: number } | null = null

  constructor(site: Site, { replace }: RollArgs, act: StepAct) {
    this.#site = site
    this.#how = replace
    this.#act = act
  }

  /** Which pod may not go yet, and why. */
  get refused(): string | null {
    return this.#refused?.why ?? null
  }

  async next(seen: Seen & { object: Workload }): Promise<void> {
    if (this.#how === 'none' || !isObserved(seen.object)) return
    const now = await lookAt(this.#site, seen, this.#act.signal)
    const current = currentOf(now)
    if (current === null) return
    const pods = now.pods.filter(alive)
    const old = pods.filter(pod => !current.pods.includes(pod))
    const calm = now.pods.length === rolloutOf(seen.object).wanted && pods.every(ready)
    // What serves goes one by one, and only where its budget lets it.
    if (this.#how === 'all' && calm) return this.#evict(old[0]?.metadata)
    for (const { metadata } of old.filter(pod => !ready(pod))) await this.#delete(metadata)
  }

  async #delete({ name, uid }: Metadata): Promise<void> {
    this.#begin()
    await this.#site.client.remove(corePath(this.#site.namespace, 'pods', name), { uid }, this.#act.signal)
    this.#tell(name)
  }

  async #evict(pod: Metadata | undefined): Promise<void> {
    if (pod === undefined) return
    if (this.#refused !== null && systemClock.mono() - this.#refused.at < ASK_AGAIN_MS) return
    this.#begin()
    const why = await evict(this.#site, pod, this.#act)
    if (why === null) {
      this.#refused = null
      return this.#tell(pod.name)
    }
    this.#refused = { why: `${pod.name} may not go yet: ${why}`, at: systemClock.mono() }
    this.#act.progress({ text: this.#refused.why })
  }

  #begin(): void {
    this.#act.signal.throwIfAborted()
    this.#act.guard()
  }

  #tell(name: string): void {
    this.#act.progress({ text: `${name} of the release that is left was deleted, so that it is made anew` })
  }
}

/** Of the Eviction: v1 since 1.22. */
const EVICTIONS = ['policy/v1', 'policy/v1beta1']

/** null: it goes, or is gone. Otherwise why its PodDisruptionBudget keeps it. */
async function evict(site: Site, { name, uid }: Metadata, act: StepAct): Promise<string | null> {
  for (const apiVersion of EVICTIONS) {
    const deleteOptions = { preconditions: { uid } }
    const eviction = { apiVersion, kind: 'Eviction', metadata: { name, namespace: site.namespace }, deleteOptions }
    try {
      await site.client.post(`${corePath(site.namespace, 'pods', name)}/eviction`, eviction, act.signal)
      return null
    } catch (error) {
      // Another one of that name by now, or gone by itself.
      if (error instanceof Conflict) return null
      const said = error instanceof BackoutError ? (error.why ?? '') : ''
      if (/not found/i.test(said)) return null
      if (error instanceof BackoutError && error.code === 'kubernetes_busy') return said
      const older = /no kind "Eviction" is registered/.test(said)
      if (!older || apiVersion === EVICTIONS.at(-1)) throw error
    }
  }
  return null
}
