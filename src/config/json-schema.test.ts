import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { catalogue } from '../../test/support/catalogue.ts'
import { fits } from '../../test/support/json-schema.ts'
import type { Json } from '../core/json.ts'
import { jsonSchema } from './json-schema.ts'

type Tree = { [key: string]: Json }

const schema = (await jsonSchema(catalogue)) as Tree
const REFERENCE = readFileSync(join(import.meta.dirname, '../../examples/backout.reference.yaml'), 'utf8')
const reference = parse(REFERENCE) as Tree
const accepts = (file: Json) => fits(schema, file)

const small = (settings: Json, more: Tree = {}): Tree => ({
  environment: 'production',
  components: { db: { adapter: 'sqlite', settings } },
  ...more,
})

describe('the JSON schema for editors', () => {
  it('accepts what the loader accepts: every setting of the reference', () => {
    expect(accepts(reference)).toBe(true)
    expect(accepts(small({ path: 'shop.db' }))).toBe(true)
    expect(accepts(small({ path: 'shop.db' }, { $schema: './schema.json', home: { at: 'ssh://ops/var' } }))).toBe(true)
  })

  it('refuses a key that nothing knows, wherever it is put in the reference', () => {
    for (const path of mappings(reference)) {
      const broken = structuredClone(reference)
      const at = path.reduce<Tree>((tree, key) => tree[key] as Tree, broken)
      at['no_such_setting'] = 1
      if (free(path)) continue
      expect({ path, accepted: accepts(broken) }).toEqual({ path, accepted: false })
    }
  })

  it.each<[string, Json]>([
    ['no environment', { components: {} }],
    ['a name with a blank', { ...small({ path: 'x' }), environment: 'my shop' }],
    ['an adapter that there is not', { environment: 'p', components: { a: { adapter: 'sqlit' } } }],
    ['a number for a duration', small({ path: 'x' }, { policy: { watch: { gates: ['g'], for: 5 } } })],
    ['no unit for a duration', small({ path: 'x' }, { policy: { watch: { gates: ['g'], for: '5' } } })],
    ['an unknown phase', small({ path: 'x' }, { hooks: { later: { before: { run: 'x' } } } })],
    ['settings of another adapter', small({ hosts: ['a'] })],
    ['a policy that there is not', small({ path: 'x' }, { policy: { onFailure: 'panic' } })],
  ])('refuses %s', (_, file) => {
    expect(accepts(file)).toBe(false)
  })

  it('has every reference in it, and one schema to say which it is', () => {
    const text = JSON.stringify(schema)
    const names = Object.keys(schema['$defs'] as Tree)
    for (const [, name] of text.matchAll(/"\$ref":"#\/\$defs\/([^"]+)"/g)) expect(names).toContain(name)
    expect(text.match(/"\$schema":"https/g)).toHaveLength(1)
  })

  it('describes every setting', () => {
    expect(undescribed(schema)).toEqual([])
  })

  it('offers the settings of each adapter there is', () => {
    const component = ((schema['properties'] as Tree)['components'] as Tree)['additionalProperties'] as Tree
    expect((component['properties'] as Tree)['adapter']).toMatchObject({ enum: [...catalogue.kinds] })
    expect(component['allOf']).toHaveLength(catalogue.kinds.length)
  })
})

/** Places of all mappings in a tree. */
function mappings(value: Json, path: string[] = []): string[][] {
  if (value === null || typeof value !== 'object') return []
  const inner = Object.entries(value).flatMap(([key, v]) => mappings(v as Json, [...path, key]))
  return Array.isArray(value) ? inner : [path, ...inner]
}

/** Where a user's own keys stand: names of components, environment variables, headers. */
function free(path: readonly string[]): boolean {
  const broken = structuredClone(reference)
  const at = path.reduce<Tree>((tree, key) => tree[key] as Tree, broken)
  const [like] = Object.values(at)
  const named = structuredClone(reference)
  path.reduce<Tree>((tree, key) => tree[key] as Tree, named)['my_own_name'] = like ?? null
  return accepts(named)
}

/** Settings without a word about them; what stands in `settings:` is each adapter's own. */
function undescribed(part: Json, path = ''): string[] {
  if (part === null || typeof part !== 'object' || path.endsWith('.allOf')) return []
  if (Array.isArray(part)) return part.flatMap((p, i) => undescribed(p, `${path}[${i}]`))
  const own = Object.entries((part['properties'] ?? {}) as Tree).filter(([, s]) => {
    const it = s as Tree
    return it['description'] === undefined && it['const'] === undefined
  })
  return [
    ...own.map(([key]) => `${path}.${key}`),
    ...Object.entries(part).flatMap(([key, value]) => undescribed(value, `${path}.${key}`)),
  ]
}
