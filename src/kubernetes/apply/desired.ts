import type { Vault } from '../../core/contract.ts'
import { BackoutError } from '../../core/errors.ts'
import { canonical, sameJson } from '../../core/json.ts'
import type { PatchOp } from '../api/client.ts'
import type { ControllerRevision, Kind, ReplicaSet, Template, Workload } from '../api/objects.ts'
import { openManifests } from '../manifests.ts'
import type { Site } from '../site.ts'
import type { RollArgs } from '../steps.ts'
import { asReleased, isHeldStopped } from '../stopped.ts'
import {
  bare,
  DUE,
  HALTED,
  LEFT,
  macOf,
  RELEASE,
  RESTARTED,
  refsOf,
  restartMark,
  WROTE,
  withImages,
} from '../template.ts'
import { holdsBack, partitionOf, rolling } from './partition.ts'

/** The template and what goes with it, as this step is to leave them. */
export interface Desired {
  readonly template: Template
  /** Of the release, without what a halt put there; null: left as it is. */
  readonly strategy: unknown
}

/** Works out what is to be written to an object that is there. Throws where the revision or the vault's content is gone. */
export async function desiredOf(
  site: Site,
  kind: Kind,
  args: RollArgs,
  live: Workload | null,
  act: { idem: string; signal: AbortSignal; vault: Vault },
): Promise<Desired> {
  const manifest = (await openManifests(args.sealed, act.vault))?.[args.object]
  if (manifest === undefined) throw contentGone(args)
  const base = await templateOf(site, kind, args, { live, manifest, signal: act.signal })
  const template = withImages(bare(base), args.write)
  const strategy = strategyOf(kind, manifest)
  return {
    template: args.restart ? marked(template, restartMark(act.idem, args.after)) : template,
    strategy: strategy ?? null,
  }
}

/** A Rollout is halted by its status alone, and keeps its steps as they are. */
function strategyOf(kind: Kind, manifest: Workload): unknown {
  if (kind === 'Rollout') return null
  return kind === 'Deployment' ? manifest.spec.strategy : rolling({ ...manifest, kind })
}

async function templateOf(
  site: Site,
  kind: Kind,
  { rung, revision, object }: RollArgs,
  { live, manifest, signal }: { live: Workload | null; manifest: Workload; signal: AbortSignal },
): Promise<Template> {
  if (rung === 'image' && live !== null) return asReleased(live.spec.template)
  // A Rollout's ReplicaSets have defaults that it has not: with them it would be another revision.
  if (rung !== 'adopt' || revision === null || kind === 'Rollout') return manifest.spec.template
  const plural = kind === 'Deployment' ? 'replicasets' : 'controllerrevisions'
  const path = `/apis/apps/v1/namespaces/${site.namespace}/${plural}/${revision}`
  const keeper = await site.client.get<ReplicaSet & ControllerRevision>(path, signal)
  const kept = kind === 'Deployment' ? keeper?.spec.template : keeper?.data?.spec?.template
  if (kept === undefined) throw revisionGone(object, revision)
  const { $patch: _, ...template } = kept as Template & { $patch?: string }
  return template
}

function marked(template: Template, mark: string): Template {
  const annotations = { ...template.metadata?.annotations, [RESTARTED]: mark }
  return { ...template, metadata: { ...template.metadata, annotations } }
}

/** Whether the object asks for what this step is to leave, whatever its pods are. */
export function asksFor(live: Workload, args: RollArgs, act: { idem: string; vault: Vault }): boolean {
  return amiss(live, args, act) === null
}

/** Why the object does not ask for what this step is to leave; null where it does. */
export function amiss(live: Workload, args: RollArgs, act: { idem: string; vault: Vault }): string | null {
  const { template } = live.spec
  const refs = refsOf(template)
  const other = Object.entries(args.write).find(([name, ref]) => refs[name] !== ref)
  if (other !== undefined) return `its container ${other[0]} is ${refs[other[0]] ?? 'not there'}, and not ${other[1]}`
  if (args.rung !== 'image' && macOf(template, act.vault) !== args.template) return 'its template is another one'
  if (isHeldStopped(template)) return 'it is stopped'
  const mark = template.metadata?.annotations?.[RESTARTED]
  if (args.restart && mark !== restartMark(act.idem, args.after)) return 'its pods are not marked to be made anew'
  const count = otherCount(live, args)
  if (count !== null) return count
  if (args.partition !== null && holdsBack(live))
    return `its partition ${partitionOf(live)} keeps pods on another revision`
  return held(live)
}

/** How its number of pods is another one; null: it is not. */
export function otherCount(live: Workload, args: RollArgs): string | null {
  const replicas = replicasToWrite(live, args)
  return replicas === null ? null : `it has ${live.spec.replicas ?? 1} replicas, and is to have ${replicas}`
}

/** How many pods it has to be told to have; null: it has as many as it is to have. */
export function replicasToWrite({ spec }: Workload, { replicas, scaled }: RollArgs): number | null {
  const now = spec.replicas ?? 1
  const enough = replicas === null || (scaled ? now > 0 : now === replicas)
  return enough ? null : replicas
}

/** A halt of the run still keeps its controller from replacing pods, or these are still to be made anew. */
function held({ spec, metadata: { annotations = {} } }: Workload): string | null {
  if (annotations[HALTED] !== undefined) return 'its rollout is held by a run'
  if (spec.paused === true) return 'it is paused'
  return annotations[DUE] === undefined ? null : 'its pods are still to be made anew'
}

type Marks = Readonly<Record<string, string>>

/** What a step leaves on an object, for people and for commands that run in the release that is left. */
export function marksOf(args: RollArgs, left: string | null, wrote: string): Marks {
  return { [RELEASE]: args.release, ...(left === null ? {} : { [LEFT]: left, [WROTE]: wrote }) }
}

/** Those that are there. */
export function marksOn({ metadata: { annotations = {} } }: Workload): Marks {
  return Object.fromEntries(Object.entries(annotations).filter(([name]) => [RELEASE, LEFT, WROTE].includes(name)))
}

/** The patch that brings an object to what is wanted; null where it asks for that already. */
export function patchTo(live: Workload, desired: Desired, args: RollArgs, marks: Marks): PatchOp[] | null {
  const { spec, metadata } = live
  const ops: PatchOp[] = []
  const field = live.kind === 'Deployment' ? 'strategy' : 'updateStrategy'
  if (canonical(bare(spec.template)) !== canonical(bare(desired.template))) {
    ops.push({ op: 'replace', path: '/spec/template', value: desired.template })
  }
  if (desired.strategy !== null && !sameJson(spec[field] ?? null, desired.strategy)) {
    ops.push({ op: 'add', path: `/spec/${field}`, value: desired.strategy })
  }
  const replicas = replicasToWrite(live, args)
  if (replicas !== null) ops.push({ op: 'add', path: '/spec/replicas', value: replicas })
  if (spec.paused === true) ops.push({ op: 'replace', path: '/spec/paused', value: false })
  const { [HALTED]: halted, [DUE]: due, [LEFT]: _, [WROTE]: __, ...annotations } = metadata.annotations ?? {}
  if (ops.length === 0 && halted === undefined && due === undefined) return null
  return [{ op: 'add', path: '/metadata/annotations', value: { ...annotations, ...marks } }, ...ops]
}

export function contentGone({ object }: RollArgs): BackoutError {
  return new BackoutError({
    code: 'content_gone',
    what: `What was captured of ${object} is gone from the vault`,
    next: 'bring the vault back from where copies are kept',
    exit: 'failed',
  })
}

function revisionGone(object: string, revision: string): BackoutError {
  return new BackoutError({
    code: 'revision_gone',
    what: `The revision ${revision} of ${object} was pruned since the plan was made`,
    next: 'take the next rung: the template is put back as it was captured',
    exit: 'failed',
  })
}
