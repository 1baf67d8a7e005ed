import { createInterface, type Interface } from 'node:readline/promises'
import type { Out } from './out.ts'
import type { View } from './render/live.ts'
import { type Asked, askedLines, choices } from './render/progress.ts'

export interface Answer {
  readonly do: string
  readonly reason: string | null
}

type Shown = Pick<View, 'standing' | 'plan'>

interface Asker {
  /** Says whether somebody else answered meanwhile. */
  gone(): Promise<boolean>
  /** Is given what walks away from the question, for signals to call. */
  left(leave: () => void): void
}

/** Asks at the terminal. Null when somebody else answered meanwhile; `left` after Ctrl-C, Ctrl-D or a closed terminal. */
export async function prompt(out: Out, { standing, plan }: Shown, asker: Asker): Promise<Answer | 'left' | null> {
  const { asked } = standing
  if (asked === null) return null
  const over = new AbortController()
  const timer = setInterval(() => {
    void asker.gone().then(yes => (yes ? over.abort() : undefined))
  }, 300)
  const lines = createInterface({ input: process.stdin, output: process.stdout })
  const left = new Promise<'left'>(resolve => lines.once('close', () => resolve('left')))
  asker.left(() => lines.close())
  lines.on('SIGINT', () => lines.close())
  const ask = async (question: string) => {
    const asking = lines.question(question, { signal: over.signal }).catch(() => null)
    const said = await Promise.race([asking, left])
    if (said === null || over.signal.aborted) return null
    return said === 'left' ? said : { typed: said.trim() }
  }
  out.line('Answer here with a word, or anywhere with its command:')
  for (const line of askedLines(asked, plan, out.width, true)) out.line(line)
  try {
    return await answered(ask, asked)
  } finally {
    clearInterval(timer)
    lines.close()
  }
}

type Ask = (question: string) => Promise<{ readonly typed: string } | 'left' | null>

async function answered(ask: Ask, asked: Asked): Promise<Answer | 'left' | null> {
  const known = choices(asked)
  const words = known.map(c => c.word).join(', ')
  for (let question = 'Your answer: '; ; question = `Your answer, one of ${words}: `) {
    const said = await ask(question)
    if (said === null || said === 'left') return said
    const choice = known.find(c => c.word === said.typed)
    if (choice === undefined) continue
    if (choice.answer === 'stop' || choice.answer === 'retry') return { do: choice.answer, reason: null }
    const why = await reasonFor(ask, choice.answer === 'skip')
    return why === null || why === 'left' ? why : { do: choice.answer, reason: why.typed === '' ? null : why.typed }
  }
}

/** Going on without something takes a reason; for the rest it may be left empty. */
async function reasonFor(ask: Ask, needed: boolean) {
  for (;;) {
    const said = await ask(needed ? 'Why: ' : 'Why (Enter for none): ')
    if (said === null || said === 'left' || !needed || said.typed !== '') return said
  }
}

/** Asks for a text to be typed exactly. Null: nothing was typed, but Ctrl-C or Ctrl-D, or nobody is there to type. */
export async function typed(question: string): Promise<string | null> {
  const lines = createInterface({ input: process.stdin, output: process.stdout })
  const said = await orGone(lines, question)
  if (said === null) process.stdout.write('\n')
  return said
}

async function orGone(lines: Interface, question: string): Promise<string | null> {
  // An input that ends settles no question; a line that came with the end is still an answer.
  const ended = new Promise<null>(resolve => lines.once('close', () => setImmediate(() => resolve(null))))
  try {
    const said = await Promise.race([lines.question(question), ended])
    return said?.trim() ?? null
  } catch (error) {
    if ((error as Error).name === 'AbortError') return null
    throw error
  } finally {
    lines.close()
  }
}
