import { canonicalJson, type Json } from '../../core/json.ts'
import { type Keeping, keepsToday } from '../../exec/secret-names.ts'
import type { Image } from './pin.ts'
import type { MadeConfig } from './steps.ts'
import type { Spec } from './types.ts'

/** Labels of Backout's own on a service: never part of what is compared or captured. */
const OWN = 'io.backout.'
/** The step that wrote the specification last. */
export const STEP = `${OWN}step`
/** Keyed hash of the specification as Backout wrote it: whoever changes it afterwards leaves this behind. */
export const WROTE = `${OWN}wrote`
/** The image that a rollback left, for commands that only it has. */
export const LEFT = `${OWN}left`
/** The release that this rollback went back to: after one to another release, what that brought is what is left. */
export const TOWARDS = `${OWN}towards`
/** Its update was stopped where it was; what that changed, as it was before. */
export const HALTED = `${OWN}halted`
/** The command that lets a stopped update go on. */
export const LIFT = `${OWN}lift`
/** A run stopped it; how many tasks it had before. */
export const STOPPED = `${OWN}stopped`

const DIGEST = /@(sha256:[0-9a-f]{64})$/
const ID = /^sha256:[0-9a-f]{64}$/

export function digestIn(ref: string): string | null {
  return DIGEST.exec(ref)?.[1] ?? null
}

/** What an image is, whatever it is called; the bare reference where nobody knows. */
export function identityOf({ ref, digest, id }: Image): string {
  return digest ?? id ?? ref
}

/** A reference that says by itself what it means: it may be a digest, or an id. */
export function pinsItself(ref: string): boolean {
  return DIGEST.test(ref) || ID.test(ref)
}

/** "v1" of "registry:5000/shop:v1@sha256:…"; empty where there is none. */
export function tagOf(ref: string): string {
  return /:([^/:]+)$/.exec(ref.replace(DIGEST, ''))?.[1] ?? ''
}

/** "shop:v1" of "registry:5000/shop:v1@sha256:…". */
export function shortName({ ref, id }: Pick<Image, 'ref' | 'id'>): string {
  if (ID.test(ref)) return `image ${(id ?? ref).slice(7, 19)}`
  return ref.replace(DIGEST, '')
}

/** A specification without what Backout and forced updates leave on it. */
export function bare(spec: Spec): Spec {
  const labels = Object.entries(spec.Labels ?? {}).filter(([key]) => !key.startsWith(OWN))
  const { ForceUpdate: _, ...template } = spec.TaskTemplate
  return { ...spec, Labels: Object.fromEntries(labels), TaskTemplate: { ...template, ForceUpdate: 0 } }
}

/** The text that is compared: everything, with the image by what it is. The order of variables and labels says nothing. */
export function textOf(spec: Spec, image: string): Uint8Array {
  const plain = bare(spec)
  const container = plain.TaskTemplate.ContainerSpec
  const env = container.Env === undefined ? {} : { Env: [...container.Env].sort() }
  const inner = { ...container, ...env, Image: image }
  const whole = { ...plain, TaskTemplate: { ...plain.TaskTemplate, ContainerSpec: inner } }
  return Buffer.from(canonicalJson(whole as unknown as Json))
}

export function replicasOf(spec: Spec): number | null {
  return spec.Mode.Replicated === undefined ? null : (spec.Mode.Replicated.Replicas ?? 1)
}

/** "replicated", "global", "replicated job", "global job". */
export function modeOf({ Mode: mode }: Spec): string {
  if (isJob({ Mode: mode })) return mode.ReplicatedJob === undefined ? 'global job' : 'replicated job'
  return mode.Replicated === undefined ? 'global' : 'replicated'
}

/** It runs to its end, once: nothing that could be gone back to. */
export function isJob({ Mode: mode }: Pick<Spec, 'Mode'>): boolean {
  return mode.ReplicatedJob !== undefined || mode.GlobalJob !== undefined
}

/** How ids of the pin are called today: what was made again under the same name, and secrets that were rotated. */
export interface Renamed {
  readonly networks: Readonly<Record<string, string>>
  readonly configs: Readonly<Record<string, string>>
  readonly secrets: Readonly<Record<string, { id: string; name: string }>>
  /** What is made again first, and has its id of the pin until then. */
  readonly made: MadeConfig[]
}

interface Wanted {
  readonly ref: string
  readonly renamed: Renamed
  readonly keeping: Keeping
}

/** What a service is to be: the pinned specification, with today's secrets where they keep their value. */
export function goalOf(pinned: Spec, today: Spec | null, { ref, renamed, keeping }: Wanted): Spec {
  const container = pinned.TaskTemplate.ContainerSpec
  const inner = {
    ...container,
    Image: ref,
    ...(container.Env === undefined ? {} : { Env: envOf(container.Env, today, keeping) }),
    ...(container.Configs === undefined
      ? {}
      : { Configs: container.Configs.map(c => ({ ...c, ConfigID: renamed.configs[c.ConfigID] ?? c.ConfigID })) }),
    ...(container.Secrets === undefined ? {} : { Secrets: container.Secrets.map(s => secretOf(s, renamed)) }),
  }
  const nets = (list: Spec['Networks']) => list?.map(n => ({ ...n, Target: renamed.networks[n.Target] ?? n.Target }))
  const template = { ...pinned.TaskTemplate, ContainerSpec: inner }
  const networks = nets(pinned.TaskTemplate.Networks)
  const old = nets(pinned.Networks)
  return {
    ...pinned,
    ...(old === undefined ? {} : { Networks: old }),
    TaskTemplate: { ...template, ...(networks === undefined ? {} : { Networks: networks }) },
  }
}

type SecretRef = NonNullable<Spec['TaskTemplate']['ContainerSpec']['Secrets']>[number]

function secretOf(ref: SecretRef, { secrets }: Renamed): SecretRef {
  const now = secrets[ref.SecretID]
  return now === undefined ? ref : { ...ref, SecretID: now.id, SecretName: now.name }
}

function envOf(then: readonly string[], today: Spec | null, keeping: Keeping): string[] {
  const now = new Map((today?.TaskTemplate.ContainerSpec.Env ?? []).map(line => [variable(line), line]))
  return then.map(line => (keepsToday(keeping, variable(line)) ? (now.get(variable(line)) ?? line) : line))
}

export function variable(line: string): string {
  const at = line.indexOf('=')
  return at < 0 ? line : line.slice(0, at)
}

/** Variables whose value of today stays, though the release had another one. */
export function keptVariables(pinned: Spec, goal: Spec): string[] {
  const [then, now] = [pinned.TaskTemplate.ContainerSpec.Env ?? [], goal.TaskTemplate.ContainerSpec.Env ?? []]
  return now.filter((line, i) => line !== then[i]).map(variable)
}
