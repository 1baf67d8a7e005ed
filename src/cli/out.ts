import { styleText } from 'node:util'
import { BackoutError } from '../core/errors.ts'
import { redact, redactJson } from '../core/secret.ts'
import { harmless, wrap } from './text.ts'

/** Where a command writes: text for people, or JSON for machines, never both on one stream. */
export interface Out {
  readonly json: boolean
  /** Standard output is a terminal that can be drawn on. */
  readonly terminal: boolean
  /** Somebody sits there who can be asked, at a terminal that cannot be drawn on (TERM=dumb) too. */
  readonly asks: boolean
  readonly width: number
  /** Elsewhere than at a terminal the rows of a table stay whole, for other programs read them. */
  readonly tableWidth: number
  /** A line for people, broken at words where the terminal is narrower; nothing with --json. */
  line(text?: string): void
  /** Text for people as it is: a document, a line to be copied; nothing with --json. */
  raw(text: string): void
  /** The command's answer with --json; nothing without. */
  data(value: unknown): void
  /** Always to standard error. */
  warn(text: string): void
}

/** Why something could not be written to standard output. */
let lost: Error | null = null

/** A reader that goes away (a pager, a terminal that closes) ends the showing, never the run. */
const READER_GONE = new Set(['EPIPE', 'EIO'])

function outliveReaders(): void {
  for (const stream of [process.stdout, process.stderr]) {
    if (stream.listenerCount('error') > 0) continue
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (stream === process.stdout && !READER_GONE.has(error.code ?? '')) lost ??= error
    })
  }
}

/** Throws `output_unwritable` where a part of the answer got lost, as on a full disk. */
export async function refuseLost(): Promise<void> {
  // A stream tells of its errors in a later turn.
  await new Promise(done => setImmediate(done))
  if (lost === null) return
  throw new BackoutError({
    code: 'output_unwritable',
    what: 'Not all of the answer could be written to standard output',
    cause: lost.message,
    next: 'what was done stays done: backout status; make room, or write elsewhere, and ask again',
    exit: 'failed',
  })
}

/** Once more at the end: what was taken out may have stood within a secret. */
export function shown(text: string, coloured = false): string {
  return redact(harmless(redact(text), coloured))
}

export function openOut(options: { json: boolean }): Out {
  outliveReaders()
  const terminal = process.stdout.isTTY && !options.json && process.env['TERM'] !== 'dumb'
  const coloured = paint('bold', '-') !== '-'
  const write = (text: string) => void process.stdout.write(`${shown(text, coloured)}\n`)
  const width = () => Math.max(40, Math.min(process.stdout.columns || 80, 120))
  return {
    json: options.json,
    terminal,
    asks: process.stdout.isTTY && process.stdin.isTTY && !options.json,
    get width() {
      return width()
    },
    get tableWidth() {
      return terminal ? width() : Infinity
    },
    line: (text = '') => {
      if (!options.json) write(terminal ? wrap(text, width(), '', '  ').join('\n') : text)
    },
    raw: text => {
      if (!options.json) write(text)
    },
    data: value => {
      if (options.json) process.stdout.write(`${JSON.stringify(redactJson(value))}\n`)
    },
    warn: text => void process.stderr.write(`${shown(text, coloured)}\n`),
  }
}

type Style = Parameters<typeof styleText>[0]

/** Colour where standard output is a terminal that wants it (NO_COLOR and FORCE_COLOR are honoured). */
export function paint(style: Style, text: string): string {
  return styleText(style, text, { stream: process.stdout, validateStream: true })
}
