import { z } from 'zod'
import { Secret, type Text } from '../core/secret.ts'

/** Fields that settings are made of, so that all adapters read alike and show alike in the JSON schema. */

/** What a mistake says: the same for all that is wrong with the field, and that it is missing where it is. */
function expected(what: string) {
  return { error: (issue: { input?: unknown }) => `${issue.input === undefined ? 'missing: ' : ''}expected ${what}` }
}

const DURATION = 'a duration such as "500ms", "30s", "5m" or "1h30m"'

const UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** Milliseconds of "500ms", "30s", "5m", "2h", "1d", "1h30m"; null for anything else. */
export function parseDuration(text: string): number | null {
  if (!/^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(text)) return null
  let total = 0
  for (const [, n, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)) total += Number(n) * (UNITS[unit ?? ''] ?? 0)
  return total
}

/** What a timer can count; with more it would end at once. */
const MOST = '24d'

/** How long something may take or is waited for, as people write it: "30s", "5m", "1h30m". Milliseconds once parsed. */
export function duration(): z.ZodType<number> {
  return ofLength(Number(parseDuration(MOST)), `${DURATION}, ${MOST} at most`)
}

/** A length of time that nothing waits through in one go, however long: an age, a watch. Milliseconds once parsed. */
export function period(): z.ZodType<number> {
  return ofLength(Infinity, DURATION)
}

function ofLength(most: number, tooLong: string): z.ZodType<number> {
  return z
    .string(expected(DURATION))
    .transform((text, ctx) => {
      const ms = parseDuration(text)
      if (ms !== null && ms <= most) return ms
      ctx.addIssue({ code: 'custom', message: `expected ${ms === null ? DURATION : tooLong}` })
      return z.NEVER
    })
    .meta({ pattern: '^(\\d+(\\.\\d+)?(ms|s|m|h|d))+$', examples: ['30s', '5m'] })
}

/** A string that may hold secrets: `${env:NAME}`, `${file:PATH}`, `${cmd:COMMAND}`. Use `reveal()` at the moment of use. */
export function text(): z.ZodType<Text> {
  return z
    .custom<Text>(value => typeof value === 'string' || value instanceof Secret, expected('a string'))
    .meta({ type: 'string' })
}

/** A command: a list of words run as it is, or one string given to `sh -c`. */
export function command(): z.ZodType<readonly Text[]> {
  return z
    .union(
      [z.array(text()).min(1), text().transform((line): Text[] => ['sh', '-c', line])],
      expected('a command: a list of words run as it is, or one line for sh -c'),
    )
    .meta({ description: 'a list of words run as it is, or one line for sh -c' })
}
