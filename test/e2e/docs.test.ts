import { existsSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { type Command, CommanderError } from 'commander'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { build } from '../../src/cli/program.ts'
import { loadConfig } from '../../src/config/load.ts'
import { BackoutError } from '../../src/core/errors.ts'
import { catalogue } from '../support/catalogue.ts'

const ROOT = join(import.meta.dirname, '..', '..')
const pages: { name: string; text: string }[] = []
let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'backout-docs-'))
  const all = await readdir(join(ROOT, 'docs'), { recursive: true })
  for (const name of ['README.md', ...all.filter(n => n.endsWith('.md')).map(n => join('docs', n))]) {
    pages.push({ name, text: await readFile(join(ROOT, name), 'utf8') })
  }
})
afterAll(() => rm(folder, { recursive: true, force: true }))

function blocks(language: string): { page: string; text: string }[] {
  return pages.flatMap(({ name, text }) => {
    const found = text.matchAll(new RegExp(`\`\`\`${language}\\n([^]*?)\`\`\``, 'g'))
    return [...found].map(m => ({ page: name, text: m[1] ?? '' }))
  })
}

/** What the program says of a command line: nothing where it would be executed. */
async function refused(words: readonly string[]): Promise<string | null> {
  const program = build(async () => {})
  const quiet = (command: Command): void => {
    command.exitOverride().configureOutput({ writeOut: () => {}, writeErr: () => {} })
    command.commands.forEach(quiet)
  }
  quiet(program)
  try {
    await program.parseAsync([...words], { from: 'user' })
    return null
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode !== 0) return error.message
    return null
  }
}

/** Words as a shell makes them: quotes taken off, comments and columns of explanation left out. */
function wordsOf(line: string): string[] {
  const bare = line
    .replace(/ {2,}.*$/, '')
    .replace(/\s#.*$/, '')
    .replace(/\s*(;|\|\||&&|\||>|\)).*$/, '')
  return [...bare.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(m => m[1] ?? m[2] ?? m[3] ?? '')
}

describe('the documentation', () => {
  it('has no example of backout.yaml that does not load', async () => {
    const whole = blocks('yaml').filter(b => /^environment:/m.test(b.text) && /^components:/m.test(b.text))
    expect(whole.length).toBeGreaterThan(8)
    const wrong: string[] = []
    for (const [i, { page, text }] of whole.entries()) {
      const file = join(folder, `${i}.yaml`)
      await writeFile(file, text)
      await loadConfig(file, catalogue).catch((error: unknown) => {
        const message = error instanceof BackoutError ? error.message : String(error)
        // The page of an adapter shows its own component, and names another that a whole file would have.
        const partial = page.startsWith('docs/adapters/') && /there is no component|# as docs\/adapters/.test(message)
        if (!partial) wrong.push(`${page}: ${message}`)
      })
    }
    expect(wrong).toEqual([])
  })

  it('names no command or option that the program does not know', async () => {
    const shown = [...blocks('sh'), ...blocks('')].flatMap(b =>
      b.text.split('\n').map(line => ({ page: b.page, line })),
    )
    const inText = pages.flatMap(({ name, text }) =>
      [...text.matchAll(/`(backout [^`\n]+)`/g)].map(m => ({ page: name, line: m[1] ?? '' })),
    )
    const said = [...shown, ...inText].flatMap(({ page, line }) => {
      const command = /^(?:\$ |[A-Z_]+=\S+ )*backout (?!is |goes )(.+)$/.exec(line.trim())?.[1]
      // A table of commands and a sentence may leave the arguments open.
      return command === undefined || /…$|^\w+ …/.test(command) ? [] : [{ page, words: wordsOf(command) }]
    })
    expect(said.length).toBeGreaterThan(50)
    const wrong: string[] = []
    for (const { page, words } of said) {
      const why = await refused(words)
      const open = why !== null && /required option|missing required argument|argument missing/.test(why)
      if (why !== null && !open) wrong.push(`${page}: backout ${words.join(' ')}: ${why}`)
    }
    expect(wrong).toEqual([])
  })

  it('links to files that there are', () => {
    const broken = pages.flatMap(({ name, text }) =>
      [...text.matchAll(/\]\((?!https?:)([^)#]+)(#[^)]*)?\)/g)]
        .map(m => resolve(ROOT, dirname(name), m[1] ?? ''))
        .filter(path => !existsSync(path))
        .map(path => `${name}: ${path}`),
    )
    expect(broken).toEqual([])
  })

  it('links to headings that there are', () => {
    const slug = (title: string) =>
      title
        .toLowerCase()
        .replaceAll(/[`'?!.,:;()"]/g, '')
        .replaceAll(' ', '-')
    const headings = new Map(
      pages.map(p => [resolve(ROOT, p.name), new Set([...p.text.matchAll(/^#+ (.+)$/gm)].map(m => slug(m[1] ?? '')))]),
    )
    const broken = pages.flatMap(({ name, text }) =>
      [...text.matchAll(/\]\((?!https?:)([^)#]*)#([^)]+)\)/g)].flatMap(([, file = '', heading = '']) => {
        const path = file === '' ? resolve(ROOT, name) : resolve(ROOT, dirname(name), file)
        return headings.get(path)?.has(heading) === false ? [`${name}: #${heading}`] : []
      }),
    )
    expect(broken).toEqual([])
  })
})
