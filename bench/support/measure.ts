import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'

/** One contender of a bench: does its thing once and answers how long it took, in milliseconds. */
export type Arm = () => Promise<number> | number

/** Every contender in every round, in turning order, so that a load from outside meets all of them alike. */
export async function interleave<K extends string>(
  rounds: number,
  arms: Readonly<Record<K, Arm>>,
): Promise<Record<K, number[]>> {
  const names = Object.keys(arms) as K[]
  const times = Object.fromEntries(names.map(name => [name, [] as number[]])) as Record<K, number[]>
  for (let round = 0; round < rounds; round++) {
    const turn = round % names.length
    for (const name of [...names.slice(turn), ...names.slice(0, turn)]) times[name].push(await arms[name]())
  }
  return times
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const [low = Number.NaN, high = Number.NaN] = [sorted[middle - 1], sorted[middle]]
  return sorted.length % 2 === 1 ? high : (low + high) / 2
}

/** The median over the rounds of what one contender took for each unit of the other in the same round. */
export function ratio(ours: readonly number[], theirs: readonly number[]): number {
  return median(ours.map((ms, i) => ms / (theirs[i] ?? Number.NaN)))
}

export async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now()
  await work()
  return performance.now() - began
}

export const ROOT = join(import.meta.dirname, '..', '..')

/** Gives the body a folder on the disk of the repository: the one for temporary files may be memory, where a sync costs nothing. */
export async function inFolder<T>(body: (dir: string) => Promise<T>): Promise<T> {
  const base = join(ROOT, '.cache')
  await mkdir(base, { recursive: true })
  const dir = await mkdtemp(join(base, 'bench-'))
  try {
    return await body(dir)
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}
