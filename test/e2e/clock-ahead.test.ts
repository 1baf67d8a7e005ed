import { afterEach, expect, it } from 'vitest'
import { shifted } from '../support/shifted.ts'
import { makeToy, type Toy } from '../support/toy.ts'

let toy: Toy
afterEach(() => toy[Symbol.asyncDispose]())

const HOURS = 3_600_000

async function ok(argv: readonly string[], env: Record<string, string> = {}): Promise<string> {
  const { code, stdout, stderr } = await toy.backout(argv, env)
  expect({ argv, code, stderr }).toEqual({ argv, code: 0, stderr: '' })
  return stdout
}

it('A3: releases keep their order where one was captured by a clock that was ahead', async () => {
  toy = await makeToy('')
  const ahead = await shifted(toy.folder, 2 * HOURS)
  await ok(['capture', 'v1', '--known-good'])
  await ok(['upgrade', 'begin', 'v2', '--from', 'v1'], ahead)
  await toy.release('v2')
  await ok(['upgrade', 'end', 'v2'])
  await ok(['release', 'mark', 'v2', 'known-good', '--why', 'it is'])
  await ok(['upgrade', 'begin', 'v3'])
  await toy.release('v3')
  await ok(['upgrade', 'end', 'v3'])
  const names = (await toy.json<{ name: string }[]>(['releases'])).map(r => r.name)
  expect(names).toEqual(['v3', 'v2', 'v1'])
  expect(await ok(['plan'])).toContain('v3 -> v2')
  await ok(['run', '--yes'])
  expect(await toy.versions()).toEqual(['v2', 'v2'])
})
