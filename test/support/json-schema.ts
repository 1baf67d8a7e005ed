import { isDeepStrictEqual } from 'node:util'
import type { Json } from '../../src/core/json.ts'

type Schema = { readonly [key: string]: Json }
type Check = (want: Json, value: Json, schema: Schema, root: Schema) => boolean

const asSchema = (value: Json): Schema => value as Schema
const isObject = (value: Json): value is { [key: string]: Json } =>
  value !== null && typeof value === 'object' && !Array.isArray(value)

const TYPES: Record<string, (value: Json) => boolean> = {
  string: v => typeof v === 'string',
  number: v => typeof v === 'number',
  integer: v => Number.isInteger(v),
  boolean: v => typeof v === 'boolean',
  null: v => v === null,
  array: v => Array.isArray(v),
  object: isObject,
}

/** What each keyword of JSON Schema asks for. One that is not here is a mistake of the test, not a pass. */
const KEYWORDS: Record<string, Check> = {
  type: (want, value) => [want].flat().some(type => TYPES[type as string]?.(value) ?? false),
  enum: (want, value) => (want as Json[]).some(one => isDeepStrictEqual(one, value)),
  const: (want, value) => isDeepStrictEqual(want, value),
  pattern: (want, value) => typeof value !== 'string' || new RegExp(want as string, 'u').test(value),
  minLength: (want, value) => typeof value !== 'string' || value.length >= Number(want),
  maxLength: (want, value) => typeof value !== 'string' || value.length <= Number(want),
  minimum: (want, value) => typeof value !== 'number' || value >= Number(want),
  maximum: (want, value) => typeof value !== 'number' || value <= Number(want),
  exclusiveMinimum: (want, value) => typeof value !== 'number' || value > Number(want),
  minItems: (want, value) => !Array.isArray(value) || value.length >= Number(want),
  maxItems: (want, value) => !Array.isArray(value) || value.length <= Number(want),
  items: (want, value, _, root) => !Array.isArray(value) || value.every(item => fits(asSchema(want), item, root)),
  prefixItems: (want, value, _, root) =>
    !Array.isArray(value) || value.every((item, i) => fits(asSchema((want as Json[])[i] ?? {}), item, root)),
  required: (want, value) => !isObject(value) || (want as string[]).every(key => value[key] !== undefined),
  properties: (want, value, _, root) =>
    !isObject(value) ||
    Object.entries(asSchema(want)).every(([key, s]) => value[key] === undefined || fits(asSchema(s), value[key], root)),
  propertyNames: (want, value, _, root) =>
    !isObject(value) || Object.keys(value).every(key => fits(asSchema(want), key, root)),
  additionalProperties: (want, value, schema, root) => {
    if (!isObject(value)) return true
    const known = Object.keys(asSchema(schema['properties'] ?? {}))
    const others = Object.entries(value).filter(([key]) => !known.includes(key))
    return others.every(([, v]) => want !== false && fits(asSchema(want), v, root))
  },
  anyOf: (want, value, _, root) => (want as Json[]).some(s => fits(asSchema(s), value, root)),
  oneOf: (want, value, _, root) => (want as Json[]).filter(s => fits(asSchema(s), value, root)).length === 1,
  allOf: (want, value, _, root) => (want as Json[]).every(s => fits(asSchema(s), value, root)),
  if: (want, value, schema, root) =>
    !fits(asSchema(want), value, root) || fits(asSchema(schema['then'] ?? {}), value, root),
  $ref: (want, value, _, root) => {
    const [, name = ''] = /^#\/\$defs\/(.+)$/.exec(want as string) ?? []
    const found = asSchema(root['$defs'] ?? {})[name]
    if (found === undefined) throw new Error(`nothing is defined as ${want as string}`)
    return fits(asSchema(found), value, root)
  },
}
const SAID_ONLY = ['$schema', '$defs', 'description', 'default', 'examples', 'title', 'then', 'format']

/** Whether a value is what the schema describes: the part of JSON Schema 2020-12 that ours is written in. */
export function fits(schema: Schema, value: Json, root: Schema = schema): boolean {
  return Object.entries(schema).every(([keyword, want]) => {
    if (SAID_ONLY.includes(keyword)) return true
    const check = KEYWORDS[keyword]
    if (check === undefined) throw new Error(`no keyword ${keyword}`)
    return check(want, value, schema, root)
  })
}
