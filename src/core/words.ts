/** The stages of a plan, in their order. */
export const PHASES = [
  'announce',
  'preflight',
  'drain',
  'stop',
  'backup',
  'data',
  'config',
  'code',
  'flags',
  'verify',
  'return',
  'watch',
  'cleanup',
] as const
export type Phase = (typeof PHASES)[number]

/** Phases in which what depends on others goes first: users leave before the app stops, the app before its database. */
export const REVERSED: ReadonlySet<Phase> = new Set(['drain', 'stop'])

/** Kinds of rungs, from gentle to drastic. */
export const TIERS = ['leave', 'platform', 'release', 'module', 'restore'] as const
export type Tier = (typeof TIERS)[number]

export type ComponentId = string
export type StepId = string

/** What one component can ask of another while a rollback goes on. */
export const NEEDS = ['drained', 'stopped', 'redeployed', 'exec-from'] as const
export type NeedWhat = (typeof NEEDS)[number]

/** `known-good` is earned (gates held for the bake time) or said by a person; `bad` releases are never gone back to. */
export type ReleaseState = 'captured' | 'known-good' | 'bad'

export type RunState = 'pending' | 'running' | 'paused' | 'waiting' | 'succeeded' | 'failed' | 'aborted'

/** States in which a run will never move again. */
export const ENDED: ReadonlySet<RunState> = new Set(['succeeded', 'failed', 'aborted'])
