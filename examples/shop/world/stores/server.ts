import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import type { Writable } from 'node:stream'
import { SUPERVISOR } from '../../../../src/exec/supervisor.ts'
import { readIfThere } from '../../lib/files.ts'
import { isAlive, signal, until } from '../../lib/processes.ts'

const START_MS = 60_000
const STOP_MS = 30_000

/** A database server of the demo's own. */
export interface Server {
  pids(): number[]
  stop(): Promise<void>
}

interface Start {
  readonly name: string
  readonly argv: readonly string[]
  /** Whose process it is; null: that of whoever runs this. */
  readonly owner: { readonly uid: number; readonly gid: number } | null
  readonly log: string
  /** Where it writes its process id, in the first line. */
  readonly pidFile: string
  /** What tells it to end now, without waiting for its users. */
  readonly end: NodeJS.Signals
  readonly answers: () => Promise<unknown>
}

export function newPassword(): string {
  return randomBytes(18).toString('base64url')
}

/** Starts it, and returns once it answers. It ends with everything below it when this process dies, however it dies. */
export async function startServer({ name, argv, owner, log, pidFile, end, answers }: Start): Promise<Server> {
  const output = openSync(log, 'a')
  const child = spawn('/bin/sh', ['-c', SUPERVISOR, name, ...argv], {
    detached: true,
    stdio: ['ignore', output, output, 'pipe'],
    ...owner,
  })
  closeSync(output)
  const exited = once(child, 'exit')
  const lifeline = child.stdio[3] as Writable
  lifeline.on('error', () => {})
  lifeline.write('go\n')
  const pid = () => Number(readIfThere(pidFile)?.split('\n')[0] ?? 0)
  const ended = () => child.exitCode !== null || child.signalCode !== null
  const server: Server = {
    pids: () => [pid(), child.pid ?? 0].filter(each => each > 1 && isAlive(each)),
    async stop() {
      if (ended()) return
      if (pid() > 1) signal(pid(), end)
      // Whatever does not end by itself ends with its lifeline.
      if (!(await until(ended, STOP_MS))) lifeline.end()
      await exited
    },
  }
  const up = await until(async () => ended() || (await answered(answers)), START_MS, 50)
  if (up && !ended()) return server
  await server.stop()
  throw new Error(`${name} did not come up:\n${(readIfThere(log) ?? '').slice(-2000)}`)
}

async function answered(ask: () => Promise<unknown>): Promise<boolean> {
  try {
    await ask()
    return true
  } catch {
    return false
  }
}
