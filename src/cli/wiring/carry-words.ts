import { readFile } from 'node:fs/promises'
import { parse } from 'yaml'
import { BackoutError, messageOf } from '../../core/errors.ts'
import { type CarryOptions, type Decision, decisions } from '../../data/carry/options.ts'
import { MODES } from '../../data/carry/words.ts'
import type { Rename } from '../../data/renames.ts'

/** What a person may say on the command line. It is kept and holds until something else is said. */
export interface Words {
  readonly mode?: string
  readonly settle?: readonly string[]
  /** OLD=NEW: a table, or TABLE.COLUMN. */
  readonly renamed?: readonly string[]
  readonly corruption?: boolean
  readonly suspect?: readonly string[]
  readonly since?: string
  readonly until?: string
}

/** What holds from now on. Throws `words_unknown`. */
export async function saidWith(said: CarryOptions, words: Words): Promise<CarryOptions> {
  const mode = MODES.find(m => m === words.mode) ?? said.mode
  if (words.mode !== undefined && mode !== words.mode)
    throw unknown(`"${words.mode}" is no mode`, `use one of ${MODES.join(', ')}`)
  const settled: Decision[] = []
  for (const word of words.settle ?? []) settled.push(...(await decisionsIn(word)))
  const suspects =
    words.corruption === true || words.suspect !== undefined || words.since !== undefined || words.until !== undefined
  return {
    ...said,
    mode,
    renames: words.renamed === undefined ? said.renames : words.renamed.map(renameIn),
    decisions: words.settle === undefined ? said.decisions : settled,
    suspicion: suspects
      ? { where: wheres(words.suspect ?? []), since: time(words.since), until: time(words.until) }
      : said.suspicion,
  }
}

/** `ours`, `theirs`, either with a kind or a table before it (`changed=theirs`, `orders:changed=ours`), or a file. */
async function decisionsIn(word: string): Promise<Decision[]> {
  const short = /^(?:(?:(?<table>[^:=]+):)?(?<kind>[a-z-]+)=)?(?<take>ours|theirs)$/.exec(word)
  if (short?.groups !== undefined) {
    const { table, kind, take } = short.groups
    return checked(word, [{ ...(table === undefined ? {} : { table }), ...(kind === undefined ? {} : { kind }), take }])
  }
  const text = await readFile(word, 'utf8').catch((error: unknown) => {
    throw unknown(
      `"${word}" is neither ours, theirs, KIND=ours, TABLE:KIND=theirs, nor a file: ${messageOf(error)}`,
      'backout data plan --help',
    )
  })
  return checked(word, yamlIn(word, text))
}

function yamlIn(word: string, text: string): unknown {
  try {
    return parse(text)
  } catch (error) {
    throw unknown(`${word} is no YAML: ${messageOf(error)}`, 'mend it there')
  }
}

function checked(word: string, value: unknown): Decision[] {
  const found = decisions.safeParse(value)
  if (found.success) return found.data
  throw unknown(
    `${word} holds no decisions: ${found.error.issues.map(i => `${i.path.join('.')} ${i.message}`).join('; ')}`,
    'see docs/carry-forward.md',
  )
}

/** `orders.total=purchases.cents`, `orders=purchases`. Names with a dot in them cannot be said like this. */
function renameIn(word: string): Rename {
  const found = /^([^.=]+)(?:\.([^.=]+))?=([^.=]+)(?:\.([^.=]+))?$/.exec(word)
  const [, table, column = null, newTable, newColumn = null] = found ?? []
  if (table !== undefined && newTable !== undefined && (column === null) === (newColumn === null)) {
    return { was: { table, column }, now: { table: newTable, column: newColumn } }
  }
  throw unknown(`"${word}" does not say what was renamed`, 'say it like this: --renamed orders.total=orders.cents')
}

function wheres(list: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    list.map(word => {
      const at = word.indexOf('=')
      if (at > 0) return [word.slice(0, at), word.slice(at + 1)]
      throw unknown(`"${word}" names no table`, `say it like this: --suspect "orders=total < 0"`)
    }),
  )
}

function time(text: string | undefined): string | null {
  if (text === undefined) return null
  const ms = Date.parse(text)
  if (!Number.isNaN(ms)) return new Date(ms).toISOString()
  throw unknown(`"${text}" is no time`, 'say it like this: 2026-01-02T03:04:05Z')
}

function unknown(what: string, next: string): BackoutError {
  return new BackoutError({ code: 'words_unknown', what, next, exit: 'usage' })
}
