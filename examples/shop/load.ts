import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FromLoad, LoadOptions, Snapshot, Summary, ToLoad } from './load/messages.ts'

export type { Summary } from './load/messages.ts'

export interface Load extends AsyncDisposable {
  readonly pid: number
  snapshot(): Promise<Snapshot>
  /** Requests sent from now on belong to a period of this name. */
  mark(name: string): Promise<void>
  /** Lets the requests in flight end, and gives the counts and every acknowledged order. */
  stop(): Promise<Summary>
}

const STOP_MS = 20_000

/**
 * Sends users through the balancer until it is stopped: they register, log in, order and pay. They live in a process of
 * their own, so that nothing that happens here slows them down; it ends with this process, however that ends.
 */
export function startLoad(options: LoadOptions): Load {
  const child = fork(join(import.meta.dirname, 'load', 'worker.ts'), [JSON.stringify(options)], {
    execArgv: ['--disable-warning=ExperimentalWarning'],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  const exited = once(child, 'exit')
  const waiting = new Map<number, (answer: FromLoad['answer'] | Error) => void>()
  child.on('message', ({ n, answer }: FromLoad) => waiting.get(n)?.(answer))
  child.on('exit', () => {
    for (const tell of waiting.values()) tell(new Error('the load generator ended by itself'))
  })
  let count = 0
  const ask = async <T>(message: Omit<ToLoad, 'n'> & { name?: string }): Promise<T> => {
    if (!child.connected) throw new Error('the load generator is not running')
    const n = (count += 1)
    const answered = new Promise<FromLoad['answer'] | Error>(resolve => waiting.set(n, resolve))
    child.send({ ...message, n })
    const answer = await answered
    waiting.delete(n)
    if (answer instanceof Error) throw answer
    return answer as T
  }
  const end = async () => {
    const gone = Promise.race([exited, sleep(STOP_MS, null, { ref: false })])
    if ((await gone) === null) child.kill('SIGKILL')
    await exited
  }
  return {
    pid: child.pid ?? 0,
    snapshot: () => ask<Snapshot>({ ask: 'snapshot' }),
    mark: name => ask<void>({ ask: 'mark', name }),
    async stop() {
      const summary = await ask<Summary>({ ask: 'stop' })
      await end()
      return summary
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || child.signalCode !== null) return
      child.kill('SIGKILL')
      await exited
    },
  }
}
