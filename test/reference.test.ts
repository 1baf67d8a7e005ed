import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { isMap, isScalar, isSeq, LineCounter, type Pair, parse, parseDocument, type YAMLMap } from 'yaml'
import type { z } from 'zod'
import { adapterOf, KINDS } from '../src/adapters/registry.ts'
import { catalogue } from '../src/cli/wiring/environment.ts'
import { parseDuration } from '../src/config/fields.ts'
import { loadConfig } from '../src/config/load.ts'
import { fileSchema } from '../src/config/schema.ts'
import { probeConfig } from '../src/probes/config.ts'

const FILE = join(import.meta.dirname, '../examples/backout.reference.yaml')
const TEXT = readFileSync(FILE, 'utf8')
const LINES = TEXT.split('\n')

/** One setting of a schema. `*` in a path stands for a name of the user's, or for any item of a list. */
interface Setting {
  /** All paths that the same part of the schema is used at: said once, it is said for all. */
  readonly paths: (readonly string[])[]
  /** Undefined where there is none. */
  readonly standard: unknown
}

interface Def {
  readonly type: string
  readonly shape?: Record<string, z.ZodType>
  readonly innerType?: z.ZodType
  readonly valueType?: z.ZodType
  readonly element?: z.ZodType
  readonly options?: readonly z.ZodType[]
  readonly in?: z.ZodType
  readonly defaultValue?: unknown
}

function settingsOf(schema: z.ZodType): Setting[] {
  const found = new Map<z.ZodType, Setting>()
  const walk = (at: z.ZodType, path: readonly string[]): void => {
    const def = at._zod.def as unknown as Def
    for (const [key, inner] of Object.entries(def.shape ?? {})) {
      const known = found.get(inner)
      known?.paths.push([...path, key])
      if (known === undefined) found.set(inner, { paths: [[...path, key]], standard: standardOf(inner) })
      walk(inner, [...path, key])
    }
    for (const inner of [def.innerType, def.in, ...(def.options ?? [])]) if (inner !== undefined) walk(inner, path)
    for (const inner of [def.valueType, def.element]) if (inner !== undefined) walk(inner, [...path, '*'])
  }
  walk(schema, [])
  return [...found.values()]
}

function standardOf(schema: z.ZodType): unknown {
  const def = schema._zod.def as unknown as Def
  if (def.type === 'default' || def.type === 'prefault') return def.defaultValue
  return def.innerType === undefined ? undefined : standardOf(def.innerType)
}

interface Place {
  /** Counts from 1. */
  readonly line: number
  /** What is said of it: at the end of its line, and in the comment right above. */
  readonly comment: string
}

const counter = new LineCounter()
const document = parseDocument(TEXT, { lineCounter: counter })

/** Every place where a setting stands in the file. */
function placesOf(path: readonly string[], node: unknown = document.contents): Place[] {
  const [key, ...rest] = path
  if (key === undefined) return []
  if (isSeq(node)) return node.items.flatMap(item => placesOf(key === '*' ? rest : path, item))
  if (!isMap(node)) return []
  return (node as YAMLMap).items.flatMap(pair => {
    if (key !== '*' && nameOf(pair) !== key) return []
    return rest.length === 0 ? [placeOf(pair)] : placesOf(rest, pair.value)
  })
}

function nameOf({ key }: Pair): string {
  return isScalar(key) ? String(key.value) : ''
}

function placeOf({ key }: Pair): Place {
  const { line } = counter.linePos((isScalar(key) ? key.range?.[0] : 0) ?? 0)
  const above: string[] = []
  for (let i = line - 2; /^\s*#/.test(LINES[i] ?? ''); i--) above.unshift((LINES[i] ?? '').replace(/^\s*#\s*/, ''))
  const end = / # (.*)$/.exec(LINES[line - 1] ?? '')?.[1] ?? ''
  return { line, comment: [...above, end].join(' ').trim() }
}

/** Where the settings of each schema stand in the file. Components of one kind count together. */
const schemas: { name: string; settings: Setting[]; find: (setting: Setting) => Place[] }[] = [
  {
    name: 'the top level',
    settings: settingsOf(fileSchema(probeConfig)),
    find: ({ paths }) => paths.flatMap(path => placesOf(path)),
  },
]
for (const kind of KINDS) {
  const { config } = await adapterOf(kind)
  const own = Object.entries((parse(TEXT) as { components: Record<string, { adapter: string }> }).components)
  const names = own.filter(([, component]) => component.adapter === kind).map(([name]) => name)
  schemas.push({
    name: kind,
    settings: settingsOf(config),
    find: ({ paths }) =>
      names.flatMap(name => paths.flatMap(path => placesOf(['components', name, 'settings', ...path]))),
  })
}

/** "default 30s." or "default [0]." in a comment, as the values that are named. */
function standardsIn(comment: string): unknown[] {
  const said = comment.matchAll(/default:? (\[[^\]]*\]|`[^`]*`|\S+?)(?=[.,:;]?(?:\s|$))/g)
  return [...said].map(([, word = '']) => {
    const bare = word.replaceAll('`', '')
    return parseDuration(bare) ?? (bare === 'none' ? null : (parse(bare) as unknown))
  })
}

function shown({ paths }: Setting): string {
  return (paths[0] ?? []).join('.')
}

/** Long lists, text and groups are described in words. */
function isShort(standard: unknown): boolean {
  if (Array.isArray(standard)) return standard.length <= 2
  return standard !== undefined && (standard === null || typeof standard !== 'object')
}

function comparable(standard: unknown): unknown {
  if (Array.isArray(standard) && standard.length === 0) return null
  return typeof standard === 'string' ? (parseDuration(standard) ?? (parse(standard) as unknown)) : standard
}

describe('examples/backout.reference.yaml', () => {
  it('loads without a mistake', async () => {
    const config = await loadConfig(FILE, catalogue)
    const kinds = new Set(Object.values(config.components).map(c => c.adapter.kind))
    expect([...kinds].toSorted()).toEqual([...KINDS].toSorted())
  })

  it.each(schemas)('has every setting of $name, with what is said of it', ({ settings, find }) => {
    expect(settings.length).toBeGreaterThan(0)
    const absent = settings.filter(s => find(s).length === 0)
    expect(absent.map(shown)).toEqual([])
    const silent = settings.filter(s => find(s).every(place => place.comment === ''))
    expect(silent.map(shown)).toEqual([])
  })

  it.each(schemas)('names the defaults of $name as they are', ({ settings, find }) => {
    const short = settings.filter(s => isShort(s.standard) && !PROSE.has(shown(s)))
    const wrong = short.filter(setting => {
      const said = find(setting).flatMap(place => standardsIn(place.comment))
      return !said.some(value => JSON.stringify(value) === JSON.stringify(comparable(setting.standard)))
    })
    expect(wrong.map(s => `${shown(s)}: ${JSON.stringify(s.standard)}`)).toEqual([])
  })

  it('finds a setting that is missing and a default that is wrong', () => {
    expect(placesOf(['policy', 'nope'])).toEqual([])
    expect(placesOf(['policy', 'watch', 'for'])).toHaveLength(1)
    expect(standardsIn('# default 10m. For apply')).toEqual([600_000])
    expect(standardsIn('default [0]. It is there')).toEqual([[0]])
    expect(standardsIn('by default all three')).not.toContain(null)
  })
})

/** Defaults that are a sentence. */
const PROSE = new Set(['title', 'impact.loss.*.note'])
