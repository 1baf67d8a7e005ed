import { z } from 'zod'
import type { ExecResult, StepAct } from '../../core/contract.ts'
import { BackoutError } from '../../core/errors.ts'
import { redact } from '../../core/secret.ts'
import { runLocal } from '../../exec/local.ts'
import type { HelmConfig } from './config.ts'

const revision = z.object({
  revision: z.number(),
  updated: z.string(),
  status: z.string(),
  chart: z.string(),
  app_version: z.string().default(''),
  description: z.string().default(''),
})

const metadata = z.object({ applyMethod: z.string().default('') })

/** One line of `helm history`. */
export type Revision = z.infer<typeof revision>

const KEPT = 16 * 1024 * 1024
/** As many as Helm asks for at most. */
const MANY = '256'

/** The user's own helm: it knows where releases are kept, and what it keeps there. */
export class Helm {
  readonly #config: HelmConfig
  readonly #cwd: string

  constructor(config: HelmConfig, cwd: string) {
    this.#config = config
    this.#cwd = cwd
  }

  /** The oldest first; empty: there is no such release. */
  async history(signal: AbortSignal): Promise<Revision[]> {
    const { release } = this.#config
    const result = await this.#read(['history', release, '--output', 'json', '--max', MANY], signal)
    if (result.code !== 0 && /release: not found/.test(result.stderr)) return []
    const list = z.array(revision).safeParse(parsed(this.#good(result, 'history').stdout))
    if (!list.success) throw strange('history', z.prettifyError(list.error))
    return list.data.toSorted((a, b) => a.revision - b.revision)
  }

  async manifest(of: number, signal: AbortSignal): Promise<string> {
    return this.#get('manifest', of, signal)
  }

  async hooks(of: number, signal: AbortSignal): Promise<string> {
    return this.#get('hooks', of, signal)
  }

  /**
   * Whether a rollback to that revision is applied on the server, where fields have owners: from version 4 on, to one that was
   * itself applied so. What Helm 3 installed is not, and may not be told to take fields over.
   */
  async hasOwners(of: number, signal: AbortSignal): Promise<boolean> {
    if (Number(/\d+/.exec(await this.version(signal))?.[0] ?? 0) < 4) return false
    const args = ['get', 'metadata', this.#config.release, '--revision', String(of), '--output', 'json']
    const said = metadata.safeParse(parsed(this.#good(await this.#read(args, signal), 'get metadata').stdout))
    if (!said.success) throw strange('get metadata', z.prettifyError(said.error))
    return said.data.applyMethod === 'ssa'
  }

  /** "v3.18.0" */
  async version(signal: AbortSignal): Promise<string> {
    return this.#good(await this.#read(['version', '--template', '{{.Version}}'], signal), 'version').stdout.trim()
  }

  /** The arguments of a rollback, as a person would type them. */
  rollbackArgs(to: number, force: boolean): string[] {
    const { release, hooks, limits } = this.#config
    const seconds = `${Math.ceil(limits.rollback / 1000)}s`
    const more = [...(hooks === 'skip' ? ['--no-hooks'] : []), ...(force ? ['--force-conflicts'] : [])]
    // As many revisions are kept as there are: the good ones are needed again.
    return ['rollback', release, String(to), '--wait', '--timeout', seconds, '--history-max', '0', ...more]
  }

  /** Runs it in a group of its own, noted durably by `begun`, so that nothing of it outlives this process unseen. */
  async rollback(
    { to, force }: { to: number; force: boolean },
    limitMs: number,
    act: StepAct,
    begun: (pgid: number) => Promise<void>,
  ): Promise<void> {
    const onSpawn = async (pgid: number): Promise<void> => {
      await begun(pgid)
      act.guard()
    }
    const command = { ...this.#command(this.rollbackArgs(to, force)), limitMs, idem: act.idem, onSpawn }
    this.#good(await runLocal(command, act.signal), 'rollback')
  }

  async #get(what: 'manifest' | 'hooks', of: number, signal: AbortSignal): Promise<string> {
    const args = ['get', what, this.#config.release, '--revision', String(of)]
    return this.#good(await this.#read(args, signal), `get ${what}`).stdout
  }

  #read(args: readonly string[], signal: AbortSignal): Promise<ExecResult> {
    return runLocal({ ...this.#command(args), limitMs: this.#config.limits.read, keepBytes: KEPT }, signal)
  }

  #command(args: readonly string[]): { argv: string[]; cwd: string } {
    const { helm, kubeconfig, context, namespace } = this.#config
    const where = [
      ...(kubeconfig === undefined ? [] : ['--kubeconfig', kubeconfig]),
      ...(context === undefined ? [] : ['--kube-context', context]),
      ...(namespace === undefined ? [] : ['--namespace', namespace]),
    ]
    return { argv: [...helm, ...args, ...where], cwd: this.#cwd }
  }

  #good(result: ExecResult, what: string): ExecResult {
    if (result.code === 0) return result
    const said = redact((result.stderr.trim() || result.stdout.trim()).slice(-2000))
    const missing = result.code === 127
    throw new BackoutError({
      code: missing ? 'helm_missing' : 'helm_failed',
      what: missing
        ? 'helm is not installed here'
        : `\`helm ${what}\` of ${this.#config.release} ended with code ${result.code}`,
      cause: said || 'it said nothing',
      next: missing
        ? 'install helm, or name it in `helm:` of the component'
        : `look at \`helm history ${this.#config.release}\`, repair what it names, then retry`,
      exit: missing ? 'blocked' : 'failed',
    })
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return null
  }
}

function strange(what: string, why: string): BackoutError {
  return new BackoutError({
    code: 'helm_output',
    what: `\`helm ${what}\` did not print what Helm 3 and 4 print`,
    cause: why,
    next: 'see what `helm version` says, and which wrapper `helm:` of the component names',
    exit: 'failed',
  })
}
