import type { StepAct, Verdict } from '../../core/contract.ts'
import type { KubeObject } from '../api/objects.ts'
import { type GitOwner, lifting, suspending, syncs } from '../gitops.ts'
import type { Site } from '../site.ts'
import type { SuspendArgs } from '../steps.ts'
import { change } from './write.ts'

function ownerOf({ tool, path, title }: SuspendArgs, object: KubeObject): GitOwner {
  return { tool, path, title, object, why: null }
}

/** Keeps a GitOps controller from putting the bad version back. It stays so until somebody lifts it: Git may still have it. */
export async function suspend(site: Site, args: SuspendArgs, act: StepAct): Promise<void> {
  const decide = (now: KubeObject) => {
    const owner = ownerOf(args, now)
    return syncs(owner) ? suspending(owner, act.idem) : null
  }
  const now = await change(site, { path: args.path, name: args.title, decide }, act)
  const lift = lifting(ownerOf(args, now))
  const text = `${args.title} is suspended, or it would put back what Git has. Once Git has the release, lift it: ${lift}`
  await act.tell({ kind: 'side-effect', text, data: { path: args.path, lift } })
}

export async function isSuspended(site: Site, args: SuspendArgs, act: StepAct): Promise<Verdict> {
  const now = await site.client.get(args.path, act.signal)
  if (now === null) return { is: 'done', why: `${args.title} is gone: it puts nothing back` }
  if (syncs(ownerOf(args, now))) return { is: 'not-done', why: `${args.title} syncs by itself` }
  return { is: 'done', why: `${args.title} is suspended` }
}
