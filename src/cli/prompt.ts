import { createInterface } from 'node:readline/promises'
import type { Asked } from './render/progress.ts'

export interface Answer {
  readonly do: string
  readonly reason: string | null
}

/**
 * Asks at the terminal. Null when somebody else answered meanwhile; `left` when the terminal was closed.
 * @param gone Says whether the question is still open.
 */
export async function prompt(asked: Asked, gone: () => Promise<boolean>): Promise<Answer | 'left' | null> {
  const over = new AbortController()
  const timer = setInterval(() => {
    void gone().then(yes => (yes ? over.abort() : undefined))
  }, 300)
  const lines = createInterface({ input: process.stdin, output: process.stdout })
  const left = new Promise<'left'>(resolve => lines.once('close', () => resolve('left')))
  lines.once('SIGINT', () => process.kill(process.pid, 'SIGINT'))
  const answers = [...new Set([...asked.answers, 'stop'])]
  try {
    for (;;) {
      const asking = lines.question(`Your answer (${answers.join(', ')}): `, { signal: over.signal }).catch(() => null)
      const said = await Promise.race([asking, left])
      if (said === 'left' && !over.signal.aborted) return 'left'
      if (said === null || over.signal.aborted) return null
      const word = said.trim()
      if (!answers.includes(word)) continue
      const reason = word === 'skip' ? await lines.question('Why: ') : null
      return { do: word, reason }
    }
  } finally {
    clearInterval(timer)
    lines.close()
  }
}

/** Asks for a text to be typed exactly. */
export async function typed(question: string): Promise<string> {
  const lines = createInterface({ input: process.stdin, output: process.stdout })
  try {
    return (await lines.question(question)).trim()
  } finally {
    lines.close()
  }
}
