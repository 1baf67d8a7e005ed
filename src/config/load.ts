import { basename, dirname, resolve } from 'node:path'
import type { z } from 'zod'
import type { Adapter } from '../core/contract.ts'
import { Graph } from '../core/graph.ts'
import { hashOf, type Json } from '../core/json.ts'
import { Secret } from '../core/secret.ts'
import { type Mistake, mistakesOf, report } from './mistakes.ts'
import { hasPlaceholder, placeholderMistakes } from './placeholders.ts'
import { readConfig } from './read.ts'
import { type ConfigFile, fileSchema } from './schema.ts'
import type { PlacedSecret } from './secrets.ts'
import { placeOf, type Source } from './source.ts'
import { parse, plain } from './yaml.ts'

/** What config must be told, because it knows no adapter and no probe. */
export interface Catalogue {
  readonly kinds: readonly string[]
  /** Loads an adapter; only those that are used are ever loaded. */
  adapter(kind: string): Promise<Adapter>
  readonly probe: z.ZodType
}

export interface Config extends Omit<ConfigFile, 'components' | 'home'> {
  /** Absolute path of the file. */
  readonly file: string
  readonly baseDir: string
  readonly home: { readonly at: string; readonly command: string }
  readonly components: Record<string, ComponentConfig>
  /** Changes with every setting, not with comments or secrets. */
  readonly hash: string
  /** The file as it was read. */
  readonly text: string
  /** Every placeholder of the file, still to be resolved. */
  readonly secrets: readonly PlacedSecret[]
}

export interface ComponentConfig {
  readonly adapter: Adapter
  readonly dependsOn: readonly string[]
  readonly limits: ConfigFile['components'][string]['limits']
  readonly settings: unknown
}

/** Reads and checks the file whole; every mistake found is in the one error thrown (`config_invalid`). */
export async function loadConfig(path: string, catalogue: Catalogue): Promise<Config> {
  const file = resolve(path)
  const source = parse(file, await readConfig(file))
  const raw = plain(source)
  const { tree, secrets, mistakes: badPlaceholders } = withSecrets(raw, source)
  if (badPlaceholders.length > 0) throw report(source, badPlaceholders)
  const schema = fileSchema(catalogue.probe)
  const parsed = schema.safeParse(tree)
  if (!parsed.success) throw report(source, mistakesOf(schema, parsed.error.issues, tree))
  const checked = await checkComponents(parsed.data, catalogue)
  const mistakes = [...checked.mistakes, ...crossMistakes(parsed.data)]
  if (mistakes.length > 0) throw report(source, mistakes)
  const { home, ...rest } = parsed.data
  return {
    ...rest,
    probes: onlyOwn(rest.probes),
    gates: onlyOwn(rest.gates),
    file,
    baseDir: dirname(file),
    home: typeof home === 'string' ? { at: home, command: 'backout' } : home,
    components: onlyOwn(checked.components),
    hash: hashOf(raw),
    text: source.text,
    secrets,
  }
}

/** Has what the file names and no more: every object has a "constructor", which is the name of no gate. */
function onlyOwn<T>(named: Readonly<Record<string, T>>): Record<string, T> {
  return Object.assign(Object.create(null), named) as Record<string, T>
}

/** The same tree with a Secret wherever a string holds a placeholder. */
function withSecrets(raw: Json, source: Source) {
  const secrets: PlacedSecret[] = []
  const mistakes: Mistake[] = []
  const walk = (value: Json, path: readonly PropertyKey[]): unknown => {
    if (typeof value === 'string') {
      mistakes.push(...placeholderMistakes(value, path))
      if (!hasPlaceholder(value)) return value
      const secret = new Secret(value)
      const { line, column } = placeOf(source, { path })
      secrets.push({ secret, place: `${basename(source.file)}:${line}:${column} ${path.join('.')}` })
      return secret
    }
    if (value === null || typeof value !== 'object') return value
    if (Array.isArray(value)) return value.map((item, i) => walk(item, [...path, i]))
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, walk(v, [...path, k])]))
  }
  return { tree: walk(raw, []), secrets, mistakes }
}

async function checkComponents(file: ConfigFile, catalogue: Catalogue) {
  const components: Record<string, ComponentConfig> = {}
  const mistakes: Mistake[] = []
  for (const [id, component] of Object.entries(file.components)) {
    const path = ['components', id]
    if (!catalogue.kinds.includes(component.adapter)) {
      mistakes.push({
        path: [...path, 'adapter'],
        what: `there is no adapter "${component.adapter}"`,
        remedy: `use one of ${catalogue.kinds.join(', ')}`,
        nearest: { wrong: component.adapter, among: catalogue.kinds },
      })
      continue
    }
    const adapter = await catalogue.adapter(component.adapter)
    const settings = adapter.config.safeParse(component.settings ?? {})
    if (settings.success) components[id] = { ...component, adapter, settings: settings.data }
    else mistakes.push(...mistakesOf(adapter.config, settings.error.issues, component.settings, [...path, 'settings']))
  }
  return { components, mistakes }
}

/** No shell reads the file: "~" would be a folder of that name in the repository, and nothing the repository itself. */
function homeMistakes(home: ConfigFile['home']): Mistake[] {
  const [at, path] = typeof home === 'string' ? [home, ['home']] : [home.at, ['home', 'at']]
  if (at.trim() === '')
    return [{ path, what: 'expected a folder, and it is empty', remedy: 'leave it out for .backout' }]
  if (!at.startsWith('~')) return []
  return [{ path, what: '"~" stands for no folder here', remedy: 'write the whole path' }]
}

/** What no schema of one part can see: names that nothing has, and circles. */
function crossMistakes(file: ConfigFile): Mistake[] {
  const names = Object.keys(file.components)
  const out: Mistake[] = homeMistakes(file.home)
  const known = (path: (string | number)[], wanted: string, among: readonly string[], kind: string) => {
    if (among.includes(wanted)) return
    const remedy = among.length === 0 ? `define it under ${kind}s:` : `use one of ${among.join(', ')}`
    out.push({ path, what: `there is no ${kind} "${wanted}"`, remedy, nearest: { wrong: wanted, among } })
  }
  for (const [id, { dependsOn }] of Object.entries(file.components)) {
    for (const [i, on] of dependsOn.entries()) known(['components', id, 'dependsOn', i], on, names, 'component')
  }
  const cycle = new Graph(Object.entries(file.components).map(([id, c]) => ({ id, dependsOn: c.dependsOn }))).cycle()
  if (cycle !== null) {
    const what = `components depend on one another in a circle: ${cycle.join(' -> ')}`
    out.push({ path: ['components', cycle[0] ?? '', 'dependsOn'], what, remedy: 'take one of these dependencies out' })
  }
  const probes = Object.keys(file.probes)
  for (const [id, gate] of Object.entries(file.gates)) {
    if (gate.pass > gate.attempts) {
      const what = `${gate.pass} passes in a row cannot be seen in ${gate.attempts} attempts`
      const remedy = `raise attempts to ${gate.pass} at least, or lower pass`
      out.push({ path: ['gates', id, 'pass'], what: `${what}, so this gate can never pass`, remedy })
    }
    for (const [i, probe] of gate.probes.entries()) known(['gates', id, 'probes', i], probe, probes, 'probe')
  }
  const gates = Object.keys(file.gates)
  const { verify, watch, bake } = file.policy
  for (const [i, gate] of verify.entries()) known(['policy', 'verify', i], gate, gates, 'gate')
  for (const [i, gate] of (watch?.gates ?? []).entries()) known(['policy', 'watch', 'gates', i], gate, gates, 'gate')
  for (const [i, gate] of (bake?.gates ?? []).entries()) known(['policy', 'bake', 'gates', i], gate, gates, 'gate')
  return out
}
