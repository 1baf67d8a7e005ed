import type { Command } from 'commander'
import { BackoutError } from '../core/errors.ts'

/** Options that say why, or by whom. */
const WORDS_OF_PEOPLE = ['reason', 'why', 'by', 'asItIs']

/** A reason that is nothing, as of an empty variable, is none: refused where there must be one. */
export function reasoned(command: Command): Record<string, unknown> {
  const said = Object.entries(command.opts<Record<string, unknown>>())
  const blank = new Set(
    said.flatMap(([key, value]) =>
      WORDS_OF_PEOPLE.includes(key) && typeof value === 'string' && value.trim() === '' ? [key] : [],
    ),
  )
  const needed = command.options.find(
    option => blank.has(option.attributeName()) && (option.mandatory || option.attributeName() === 'asItIs'),
  )
  if (needed === undefined) return Object.fromEntries(said.filter(([key]) => !blank.has(key)))
  throw new BackoutError({
    code: 'option_invalid',
    what: `${needed.long ?? needed.flags} says nothing`,
    next: `say it, for the audit that reads it: ${needed.long ?? needed.flags} "…"`,
    exit: 'usage',
  })
}
