import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { MAIN } from './shipped.ts'

/** A command at a terminal of its own, typed into as a person does. */
export interface Terminal {
  /** Everything that was shown so far, without what moves the cursor and colours. */
  shown(): string
  /** Types without a line break; `\x03` is Ctrl-C, `\x04` Ctrl-D. */
  type(keys: string): void
  /** Waits until a text was shown. Throws with what was shown instead. */
  until(text: string | RegExp): Promise<void>
  ended(): Promise<number>
}

/** Starts the real command line at a terminal of so many columns. */
export function atTerminal(folder: string, argv: readonly string[], columns = 80, kind = 'xterm'): Terminal {
  const words = [process.execPath, '--disable-warning=ExperimentalWarning', MAIN, ...argv]
  const line = `stty cols ${columns} rows 40; exec ${words.map(w => `'${w.replaceAll("'", `'\\''`)}'`).join(' ')}`
  // `script` of util-linux gives its command a terminal, and ends as it does.
  const child = spawn('sh', ['-c', 'exec script -qefc "$1" /dev/null', 'sh', line], {
    cwd: folder,
    env: { ...process.env, BACKOUT_KEYS: join(folder, 'keys'), BACKOUT_HOME: '', NO_COLOR: '1', TERM: kind },
  })
  let text = ''
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()))
  const closed = once(child, 'close') as Promise<[number | null]>
  const shown = () => stripVTControlCharacters(text).replaceAll('\r', '')
  return {
    shown,
    type: keys => void child.stdin.write(keys),
    async until(wanted) {
      for (const end = performance.now() + 60_000; performance.now() < end; ) {
        if (typeof wanted === 'string' ? shown().includes(wanted) : wanted.test(shown())) return
        await new Promise(done => setTimeout(done, 50))
      }
      throw new Error(`not shown: ${String(wanted)}; but:\n${shown()}`)
    },
    ended: async () => (await closed)[0] ?? -1,
  }
}
