import { execFile, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { quote } from '../../../src/exec/ssh.ts'

const CACHE = new URL('../../../node_modules/.cache/kubernetes/', import.meta.url).pathname

/** A program that `npm run setup -- --servers` brought, or else what the machine has under that name. */
export function brought(file: string, otherwise: string): string {
  return existsSync(CACHE + file) ? CACHE + file : otherwise
}

const KUBECTL = brought('kubectl', 'kubectl')

/** Why tests with kubectl cannot run on this machine, or null. Throws in CI: there a skipped test would hide a hole. */
export function noKubectl(): string | null {
  if (spawnSync(KUBECTL, ['version', '--client']).status === 0) return null
  if (process.env.CI === 'true') throw new Error('kubectl is not installed, and CI must not skip the tests with it')
  return '(kubectl is not installed)'
}

export interface Kubectl {
  /** The same as a line for a shell. */
  line(...args: string[]): string
  /** Answers stdout; throws with what it wrote to stderr. */
  (...args: string[]): Promise<string>
  apply(object: object, ...args: string[]): Promise<string>
  /** For commands that are to fail: their exit code and stderr. */
  fails(...args: string[]): Promise<{ code: number; stderr: string }>
}

/** The real kubectl, against one namespace of a cluster. */
export function kubectl(kubeconfig: string, namespace: string): Kubectl {
  const where = ['--kubeconfig', kubeconfig, '--namespace', namespace, '--cache-dir', `${kubeconfig}.cache`]
  const run = (args: readonly string[], input = ''): Promise<{ code: number; stdout: string; stderr: string }> =>
    new Promise(resolve => {
      const child = execFile(KUBECTL, [...where, ...args], (error, stdout, stderr) => {
        resolve({ code: typeof error?.code === 'number' ? error.code : error === null ? 0 : 1, stdout, stderr })
      })
      // One that ends before it has read says why by itself.
      child.stdin?.on('error', () => {}).end(input)
    })
  const must = async (args: readonly string[], input?: string): Promise<string> => {
    const { code, stdout, stderr } = await run(args, input)
    if (code !== 0) throw new Error(`kubectl ${args.join(' ')}: ${stderr}`)
    return stdout
  }
  return Object.assign((...args: string[]) => must(args), {
    line: (...args: string[]) => [KUBECTL, ...where, ...args].map(quote).join(' '),
    apply: (object: object, ...args: string[]) => must(['apply', ...args, '-f', '-'], JSON.stringify(object)),
    fails: async (...args: string[]) => {
      const { code, stdout, stderr } = await run(args)
      if (code === 0) throw new Error(`kubectl ${args.join(' ')} did not fail: ${stdout}`)
      return { code, stderr }
    },
  })
}
