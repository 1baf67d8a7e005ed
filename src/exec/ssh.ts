import type { ExecResult } from '../core/contract.ts'
import { type Command, runLocal } from './local.ts'
import { Connection, type SshOptions } from './ssh-connection.ts'

export { quote } from './ssh-script.ts'

/** Where commands run: this machine or another one. */
export interface Runner extends AsyncDisposable {
  /** For people: "local", "web-1". */
  readonly name: string
  /**
   * Runs a command and resolves with its exit code, whatever it is. The command ends with this process, with the
   * connection, at its limit and when aborted. Throws `command_timed_out`, `command_stopped`, `command_not_started`, and
   * over SSH `host_unreachable`, `host_key_changed`, `host_key_unknown`, `ssh_denied`, `ssh_no_shell`.
   */
  run(command: Command, signal?: AbortSignal): Promise<ExecResult>
}

export function localRunner(): Runner {
  return { name: 'local', run: runLocal, [Symbol.asyncDispose]: async () => {} }
}

interface Shared {
  readonly connection: Connection
  users: number
}

const shared = new Map<string, Shared>()

/** The one connection of this process to an address, and how its user lets go of it. */
function share(options: SshOptions): { connection: Connection; letGo: () => Promise<void> } {
  const key = JSON.stringify([options.address, options.config ?? null])
  const own: Shared = shared.get(key) ?? { connection: new Connection(options), users: 0 }
  own.users += 1
  shared.set(key, own)
  let open = true
  const letGo = async () => {
    if (!open) return
    open = false
    own.users -= 1
    if (own.users > 0) return
    shared.delete(key)
    await own.connection.close()
  }
  return { connection: own.connection, letGo }
}

/**
 * Runs commands over the machine's own OpenSSH: ssh_config, agent, jump hosts and known_hosts apply, and it never asks.
 * All runners of this process for one address share one connection, made when first needed; eight commands at a time.
 */
export function sshRunner(options: SshOptions): Runner {
  const { connection, letGo } = share(options)
  return {
    name: options.address,
    run: (command, signal) => connection.run(command, signal),
    [Symbol.asyncDispose]: letGo,
  }
}

export interface Tunnel extends AsyncDisposable {
  /** Path of a socket of this machine. Made when first asked for, and again once the connection was lost. Throws as `Runner` does. */
  socket(signal?: AbortSignal): Promise<string>
}

/** Leads to a socket of another machine, over the connection that runners to the same address use. */
export function sshTunnel(options: SshOptions, remote: string): Tunnel {
  const { connection, letGo } = share(options)
  return { socket: signal => connection.forward(remote, signal), [Symbol.asyncDispose]: letGo }
}
