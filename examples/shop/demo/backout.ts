import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { styleText } from 'node:util'
import { print } from './text.ts'

const MAIN = join(import.meta.dirname, '..', '..', '..', 'src', 'main.ts')

interface Phase {
  readonly phase: string
  readonly ended: string | null
}

/** The exit code of `data status` where something waits for a word. */
const WAITING = 5

export interface CarryStatus {
  readonly last: { readonly carried: number; readonly proof: { readonly ok: boolean } } | null
  readonly now: {
    readonly run: string
    readonly tables: readonly { readonly conflicts: Readonly<Record<string, number>> }[]
  }
}

/** The command line of Backout, used as a person would: the demo sees what it prints and how it exits. */
export class Backout {
  readonly #folder: string
  readonly #config: readonly string[]

  /** `config`: another configuration than the folder's backout.yaml. */
  constructor(folder: string, config?: string) {
    this.#folder = folder
    this.#config = config === undefined ? [] : ['--config', config]
  }

  /** Runs a command before the reader's eyes. Throws where it exits otherwise than expected. */
  async run(argv: readonly string[], expected: readonly number[] = [0]): Promise<void> {
    const shown = [...this.#config, ...argv].map(a => (/[^\w./:=-]/.test(a) ? `'${a}'` : a)).join(' ')
    print(styleText('bold', `$ backout ${shown}`))
    const child = this.#start(argv, 'inherit')
    const [code] = (await once(child, 'exit')) as [number | null]
    if (code === null || !expected.includes(code)) throw new Error(`backout ${argv[0]} ended with ${code}`)
  }

  async quiet(argv: readonly string[]): Promise<void> {
    await this.#json(argv)
  }

  /** Milliseconds from the decision to go back until all users were served again. */
  async healthyAfter(): Promise<number> {
    const report = (await this.#json(['report'])) as { started: string; phases: Phase[] }
    const back = report.phases.find(p => p.phase === 'return')?.ended
    return back === null || back === undefined
      ? Number.POSITIVE_INFINITY
      : Date.parse(back) - Date.parse(report.started)
  }

  /** Where the report lies. */
  async report(): Promise<string> {
    const { run } = (await this.#json(['status'])) as { run: string }
    return join(this.#folder, '.backout', 'reports', `${run}.md`)
  }

  /** What carrying forward came to, in the newest run that restored a database. */
  async carried(): Promise<CarryStatus> {
    return (await this.#json(['data', 'status'], [0, WAITING])) as CarryStatus
  }

  async #json(argv: readonly string[], expected: readonly number[] = [0]): Promise<unknown> {
    const child = this.#start(['--json', ...argv], 'pipe')
    const chunks: Buffer[] = []
    child.stdout?.on('data', (chunk: Buffer) => chunks.push(chunk))
    const [code] = (await once(child, 'close')) as [number | null]
    const text = Buffer.concat(chunks).toString('utf8')
    if (code === null || !expected.includes(code))
      throw new Error(`backout ${argv.join(' ')} ended with ${code}: ${text}`)
    return text.trim() === '' ? null : JSON.parse(text.trim().split('\n').at(-1) ?? 'null')
  }

  /** The keys of the demo stay in its own folder. */
  #start(argv: readonly string[], stdout: 'inherit' | 'pipe') {
    return spawn(process.execPath, ['--disable-warning=ExperimentalWarning', MAIN, ...this.#config, ...argv], {
      cwd: this.#folder,
      stdio: ['ignore', stdout, 'inherit'],
      env: { ...process.env, BACKOUT_KEYS: join(this.#folder, 'keys'), BACKOUT_HOME: '', BACKOUT_CONFIG: '' },
    })
  }
}
