import type { ExecAct, OpenContext } from '../../core/contract.ts'
import type { SwarmConfig } from './config.ts'
import { type Engine, openEngine } from './engine.ts'
import { LEFT, TOWARDS, textOf, WROTE } from './spec.ts'
import type { Service, Spec } from './types.ts'

/** One component and what is the same for all that is asked of it. */
export interface Site {
  readonly component: string
  readonly config: SwarmConfig
  readonly engine: Engine
  readonly vault: OpenContext['vault']
  /** Keyed hash of a specification without its image: variables may hold secrets. */
  shape(spec: Spec): string
}

export function openSite(config: SwarmConfig, ctx: OpenContext): Site {
  const shape = (spec: Spec) => ctx.vault.mac(textOf(spec, ''))
  return { component: ctx.component, config, engine: openEngine(config, ctx), vault: ctx.vault, shape }
}

/** Whether a service still is as Backout wrote it last, in this run or an earlier one. */
export function stands(site: Site, { Spec: spec }: Service): boolean {
  return spec.Labels?.[WROTE] === site.shape(spec)
}

/** The image that was left on the way to the release that the run goes back to: by its mark, while that stands; else what it has. */
export function imageLeft(site: Site, service: Service, { release }: Pick<ExecAct, 'release'>): string {
  const { Labels: labels, TaskTemplate: template } = service.Spec
  const left = stands(site, service) && labels?.[TOWARDS] === release ? labels?.[LEFT] : undefined
  return left ?? template.ContainerSpec.Image
}
