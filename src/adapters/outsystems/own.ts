import { z } from 'zod'
import type { StepAct } from '../../core/contract.ts'
import type { DeploymentAnswer, StatusAnswer } from './answers.ts'
import { isAlive } from './deployments.ts'
import type { Applications } from './pin.ts'
import type { Site } from './site.ts'

/** What a step keeps: the deployments that it made, the newest last. */
const handle = z.object({ deployments: z.array(z.string()) })

/** Marks a deployment as the one of a step of a run: in its notes, where LifeTime and people see it. */
export function mark(act: Pick<StepAct, 'idem'>): string {
  return `[${act.idem}]`
}

export function kept(act: Pick<StepAct, 'handle'>): readonly string[] {
  return handle.safeParse(act.handle).data?.deployments ?? []
}

export async function keep(act: StepAct, key: string): Promise<void> {
  await act.note({ deployments: [...kept(act).filter(k => k !== key), key] })
}

export interface Own {
  readonly key: string
  readonly status: StatusAnswer
  /** Versions that it deploys; of a binary LifeTime lists none. */
  readonly versions: readonly string[]
}

/**
 * The deployments that this step made, in this process or another, the newest last: those that it kept, and those whose notes
 * carry its mark, for the reply to their making may have been lost.
 */
export async function own(site: Site, act: Pick<StepAct, 'idem' | 'handle' | 'signal'>): Promise<Own[]> {
  const { deployments } = await site.places(act.signal)
  const listed = await deployments.list(act.signal)
  const keys = [
    ...ownIn(listed, act)
      .toReversed()
      .map(d => d.Key),
    ...kept(act),
  ]
  const out: Own[] = []
  for (const key of new Set(keys)) {
    // One that was kept and is not listed any more was deleted, or is older than the list goes back.
    const found = listed.find(d => d.Key === key)
    if (found === undefined) continue
    const versions = found.ApplicationOperations.map(o => o.ApplicationVersionKey)
    out.push({ key, versions, status: await deployments.status(key, act.signal) })
  }
  return out
}

function ownIn(listed: readonly DeploymentAnswer[], act: Pick<StepAct, 'idem'>): DeploymentAnswer[] {
  return listed.filter(d => d.Notes.includes(mark(act)))
}

export function aliveOf(all: readonly Own[]): Own | undefined {
  return all.findLast(o => isAlive(o.status))
}

/** One that was saved and not started, of just these applications; a plan that was made again may have others. */
export function savedOf(all: readonly Own[], applications: Applications | null): string | undefined {
  const wanted = Object.values(applications ?? {}).map(a => a.version)
  const same = ({ versions }: Own) => versions.length === wanted.length && wanted.every(v => versions.includes(v))
  return all.findLast(o => o.status.DeploymentStatus === 'saved' && same(o))?.key
}

export function lastEnded(all: readonly Own[]): Own | undefined {
  return all.findLast(o => !isAlive(o.status) && o.status.DeploymentStatus !== 'saved')
}
