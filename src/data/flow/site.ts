import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Backup, Observation, OpenContext } from '../../core/contract.ts'
import { BackoutError } from '../../core/errors.ts'
import type { Engine, Job, Reader } from '../engine.ts'
import type { DatabaseSettings } from './settings.ts'

/** All of an engine that going back needs. Without `merging` nothing is carried forward. */
export type Base = Omit<Engine, 'merging'> & Partial<Pick<Engine, 'merging'>>

/** One database of one component. */
export interface Site {
  readonly engine: Base
  readonly settings: DatabaseSettings
  readonly ctx: OpenContext
  /** What was measured, as long as it stands: a plan asks several times. */
  readonly measured: Map<string, { stamp: string; value: unknown }>
}

/** The answer of last time where the stamp is the same. What is about to destroy something never uses it. */
export async function measuredOnce<T>(site: Site, key: string, stamp: string, measure: () => Promise<T>): Promise<T> {
  const known = site.measured.get(key)
  if (known?.stamp === stamp) return known.value as T
  const value = await measure()
  site.measured.set(key, { stamp, value })
  return value
}

const seen = new WeakMap<Observation, number>()
let observations = 0

/** Another text whenever the database may hold something else: the engine's own word, or else one an observation. */
export async function stampOf(site: Site, from: Observation, signal: AbortSignal): Promise<string> {
  if (site.engine.stamp !== undefined) return site.engine.stamp(signal)
  const number = seen.get(from) ?? ++observations
  seen.set(from, number)
  return `observation ${number}`
}

/** The same for the files of a backup. */
export async function backupStamp(backup: Backup): Promise<string> {
  const files = backup.files.map(file => join(backup.dir, file.path))
  const stats = await Promise.all(files.map(file => stat(file, { bigint: true }).catch(() => null)))
  return stats.map(s => (s === null ? '-' : `${s.ino}:${s.size}:${s.mtimeNs}`)).join(' ')
}

export type State = 'missing' | 'damaged'

/** A database that is gone or damaged is an answer, not an error: it is what a restore is for. Other errors are thrown. */
export async function readOrTell<T>(
  site: Site,
  signal: AbortSignal,
  work: (db: Reader) => Promise<T>,
): Promise<T | State> {
  return tellState(() => site.engine.reading(signal, work))
}

export async function tellState<T>(work: () => Promise<T>): Promise<T | State> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof BackoutError && error.code === 'database_missing') return 'missing'
    if (error instanceof BackoutError && error.code === 'database_damaged') return 'damaged'
    throw error
  }
}

export function isState(value: unknown): value is State {
  return value === 'missing' || value === 'damaged'
}

/** What a database of this kind is, for people. */
export function nounOf({ engine }: Site): 'file' | 'database' {
  return engine.dialect.kind === 'sqlite' ? 'file' : 'database'
}

/** What an act gives to an engine. An act without `guard` owns no run and writes nothing that a run could lose. */
export function jobOf(act: Pick<Job, 'signal' | 'progress'> & { guard?: () => void }): Job {
  return { signal: act.signal, progress: p => act.progress(p), guard: () => act.guard?.() }
}
