import { z } from 'zod'
import type { ExecResult, Observation } from '../../core/contract.ts'
import { BackoutError } from '../../core/errors.ts'
import { canonical, type Json } from '../../core/json.ts'
import type { Text } from '../../core/secret.ts'
import { parsed } from '../../exec/pointer.ts'
import { lastLines, shownWords } from '../../exec/words.ts'
import { observed } from './config.ts'

type More = { env?: Record<string, string>; idem?: string }
/** Runs a command of the settings that only reads. */
export type Run = (argv: readonly Text[], signal: AbortSignal, more?: More) => Promise<ExecResult>

/** What the observe command says. */
export async function looked(
  observe: readonly Text[],
  component: string,
  read: Run,
  signal: AbortSignal,
): Promise<Omit<Observation, 'identity'>> {
  const said = await readJson(observe, component, read, signal)
  const { state, detail, summary, inFlight } = shaped(observed, said, observe, component)
  return {
    state,
    detail: detail ?? null,
    summary: summary ?? lastLines(typeof state === 'string' ? state : canonical(state), 80),
    inFlight: inFlight.map(op => (typeof op === 'string' ? { what: op, since: null } : op)),
  }
}

export async function readJson(argv: readonly Text[], component: string, read: Run, signal: AbortSignal, more?: More) {
  const result = await read(argv, signal, more)
  if (result.code !== 0) throw failed(argv, component, result)
  const doc = parsed(result.stdout)
  if (doc === undefined && /^\[\d+ bytes left out\]\n/.test(result.stdout)) {
    throw strange(argv, component, 'it printed more than 1 MiB')
  }
  if (doc === undefined)
    throw strange(argv, component, `no JSON: ${lastLines(result.stdout, 100) || 'it printed nothing'}`)
  return doc
}

function shaped<T>(schema: z.ZodType<T>, doc: Json, argv: readonly Text[], component: string): T {
  const result = schema.safeParse(doc)
  if (result.success) return result.data
  throw strange(argv, component, z.prettifyError(result.error))
}

export function failed(argv: readonly Text[], component: string, { code, stdout, stderr }: ExecResult): BackoutError {
  return new BackoutError({
    code: 'command_failed',
    what: `The command "${shownWords(argv)}" of ${component} ended with exit ${code}`,
    cause: lastLines(stderr.trim() === '' ? stdout : stderr) || undefined,
    next: 'run it by hand to see why, then go on',
    exit: 'failed',
  })
}

export function strange(argv: readonly Text[], component: string, why: string): BackoutError {
  return new BackoutError({
    code: 'command_output',
    what: `The command "${shownWords(argv)}" of ${component} did not print what is agreed`,
    cause: why,
    next: 'see docs/adapters/command.md for what each command prints',
    exit: 'failed',
  })
}
