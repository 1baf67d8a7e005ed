import { builtinModules } from 'node:module'
import type { Plugin } from 'rolldown'

/** With `node:` before it or, as older packages write it, without. */
const BUILTIN = `(?:node:)?(?:${builtinModules.filter(name => !name.startsWith('_')).join('|')})`
const IMPORT = new RegExp(
  `^import (?:(\\w[\\w$]*|\\$[\\w$]*)(?:, )?)?(?:\\* as ([\\w$]+) )?(?:\\{([^}]*)\\} )?\\s*from ["'](${BUILTIN})["'];$`,
  'gm',
)
const LEFT = new RegExp(`^import .*["']${BUILTIN}["'].*$`, 'm')

/**
 * Takes the modules of Node itself without `import`, which reads every property of theirs once and so loads what hides
 * behind lazy ones: 10 ms of each start for node:fs, node:util and node:process together, and 30 ms for http, with which
 * Node's own undici comes.
 */
export const plainBuiltins: Plugin = {
  name: 'plain-builtins',
  renderChunk(code) {
    const plain = code.replaceAll(IMPORT, (_, ...parts: (string | undefined)[]) => taken(parts))
    const left = LEFT.exec(plain)
    if (left !== null) throw new Error(`an import that tools/builtins.ts does not understand: ${left[0]}`)
    return plain
  },
}

function taken([whole, space, named, id = '']: (string | undefined)[]): string {
  const module = `globalThis.process.getBuiltinModule(${JSON.stringify(id)})`
  const lines = [whole, space].flatMap(name => (name === undefined ? [] : [`const ${name} = ${module};`]))
  if (named !== undefined) lines.push(`const {${named.replaceAll(/ as /g, ': ')}} = ${module};`)
  return lines.join(' ')
}
