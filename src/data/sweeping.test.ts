import { afterEach, expect, it, vi } from 'vitest'
import { sweeping } from './sweeping.ts'

const MIB = new Uint8Array(1024 * 1024)

afterEach(() => vi.unstubAllGlobals())

it('gives back what was copied after every 4 MiB of a stream', () => {
  const gc = vi.fn<(options: unknown) => void>()
  vi.stubGlobal('gc', gc)
  const [one, other] = [sweeping(), sweeping()]
  for (let i = 0; i < 3; i++) one(MIB)
  other(MIB)
  expect(gc).not.toHaveBeenCalled()
  one(MIB)
  expect(gc.mock.calls).toEqual([[{ type: 'minor', execution: 'sync' }]])
  for (let i = 0; i < 8; i++) one(MIB)
  expect(gc).toHaveBeenCalledTimes(3)
})

it('does nothing where Node hands no collector out', () => {
  vi.stubGlobal('gc', undefined)
  const one = sweeping()
  expect(() => {
    for (let i = 0; i < 9; i++) one(MIB)
  }).not.toThrow()
})
