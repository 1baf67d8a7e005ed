import type { z } from 'zod'

interface Def {
  readonly type: string
  readonly shape?: Record<string, z.ZodType>
  readonly innerType?: z.ZodType
  readonly keyType?: z.ZodType
  readonly valueType?: z.ZodType
  readonly entries?: Record<string, string>
  readonly element?: z.ZodType
  readonly options?: readonly z.ZodType[]
  readonly in?: z.ZodType
}

/** The settings that a schema knows at a path: every branch of a union counts. */
export function keysAt(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  const def = schema._zod.def as unknown as Def
  if (def.innerType !== undefined) return keysAt(def.innerType, path)
  if (def.in !== undefined) return keysAt(def.in, path)
  if (def.options !== undefined) return [...new Set(def.options.flatMap(option => keysAt(option, path)))]
  const [first, ...rest] = path
  // A record whose keys are words of ours knows them as an object does.
  const words = (def.keyType?._zod.def as Def | undefined)?.entries
  if (first === undefined) return Object.keys(def.shape ?? words ?? {})
  const next = def.shape?.[String(first)] ?? def.valueType ?? def.element
  return next === undefined ? [] : keysAt(next, rest)
}
