import { open, readdir, readFile, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { basename, delimiter, join } from 'node:path'
import { parse } from 'yaml'
import { byText } from '../../core/order.ts'
import { runLocal } from '../../exec/local.ts'

/** Where on this machine init looks besides the folder. Absolute paths. */
export interface Machine {
  readonly unitFolders: readonly string[]
  readonly kubeConfigs: readonly string[]
  readonly haproxyConfigs: readonly string[]
  readonly nginxFolders: readonly string[]
}

interface Repository {
  /** Absolute. */
  readonly root: string
  readonly name: string
  readonly branch: string | null
  readonly remote: string | null
}

/** The folder, looked through once. Paths are relative to it. */
export interface Site {
  readonly dir: string
  readonly machine: Machine
  readonly files: readonly string[]
  readonly folders: readonly string[]
  readonly repository: Repository | null
  /** Dependencies of package.json, of all kinds. */
  readonly packages: ReadonlySet<string>
  /** Not everything was looked at. */
  readonly cut: boolean
}

function thisMachine(): Machine {
  const own = process.env['XDG_CONFIG_HOME'] || join(homedir(), '.config')
  const kube = process.env['KUBECONFIG']?.split(delimiter).filter(Boolean)
  return {
    unitFolders: ['/etc/systemd/system', '/usr/local/lib/systemd/system', join(own, 'systemd/user')],
    kubeConfigs: kube ?? [join(homedir(), '.kube/config')],
    haproxyConfigs: ['/etc/haproxy/haproxy.cfg'],
    nginxFolders: ['/etc/nginx/sites-enabled', '/etc/nginx/conf.d'],
  }
}

const SKIPPED = new Set(
  'node_modules .git .hg .svn .backout .cache .venv venv __pycache__ vendor dist build target coverage releases'.split(
    ' ',
  ),
)
const DEPTH = 4
const MOST = 5_000

export async function openSite(dir: string, machine: Machine = thisMachine()): Promise<Site> {
  const files: string[] = []
  const folders: string[] = []
  const cut = await walk(dir, '', 0, files, folders)
  return { dir, machine, files, folders, cut, repository: await repositoryAt(dir), packages: await packagesIn(dir) }
}

/** Links are not followed. Answers whether it stopped early. */
async function walk(dir: string, at: string, depth: number, files: string[], folders: string[]): Promise<boolean> {
  const entries = await readdir(join(dir, at), { withFileTypes: true }).catch(() => [])
  for (const entry of entries.toSorted((a, b) => byText(a.name, b.name))) {
    if (files.length + folders.length >= MOST) return true
    const path = join(at, entry.name)
    if (entry.isFile()) files.push(path)
    else if (entry.isDirectory() && entry.name === '.git') folders.push(path)
    else if (entry.isDirectory() && !SKIPPED.has(entry.name)) {
      folders.push(path)
      if (depth + 1 < DEPTH && (await walk(dir, path, depth + 1, files, folders))) return true
    }
  }
  return false
}

export async function git(dir: string, ...argv: string[]): Promise<string | null> {
  const ran = await runLocal({ argv: ['git', '-C', dir, ...argv], limitMs: 20_000 }).catch(() => null)
  return ran?.code === 0 ? ran.stdout.trim() : null
}

async function repositoryAt(dir: string): Promise<Repository | null> {
  const root = await git(dir, 'rev-parse', '--show-toplevel')
  if (root === null) return null
  const remote = await git(dir, 'remote', 'get-url', 'origin')
  const named = remote === null ? basename(root) : basename(remote.replace(/\/+$/, '')).replace(/\.git$/, '')
  return { root, name: named, branch: await git(dir, 'symbolic-ref', '--short', 'HEAD'), remote }
}

async function packagesIn(dir: string): Promise<ReadonlySet<string>> {
  const text = await readSmall(join(dir, 'package.json'))
  try {
    const parsed = JSON.parse(text ?? '{}') as Record<string, Record<string, string> | undefined>
    return new Set(['dependencies', 'devDependencies'].flatMap(kind => Object.keys(parsed[kind] ?? {})))
  } catch {
    return new Set()
  }
}

/** The text of a file of up to a megabyte; null for anything else. */
export async function readSmall(path: string): Promise<string | null> {
  const found = await stat(path).catch(() => null)
  if (found === null || !found.isFile() || found.size > 1024 * 1024) return null
  return readFile(path, 'utf8').catch(() => null)
}

/** The content of a YAML or JSON file of up to a megabyte; null where it is none. */
export async function readYaml(path: string): Promise<unknown> {
  const text = await readSmall(path)
  try {
    return text === null ? null : (parse(text, { logLevel: 'silent' }) as unknown)
  } catch {
    return null
  }
}

/** The first bytes of a file. */
export async function startOf(path: string, bytes: number): Promise<Buffer> {
  const file = await open(path, 'r').catch(() => null)
  if (file === null) return Buffer.alloc(0)
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(bytes), 0, bytes, 0)
    return buffer.subarray(0, bytesRead)
  } finally {
    await file.close()
  }
}

/** Samples, tests and the like are no part of what runs. */
export function isAside(path: string): boolean {
  return /(^|[/._-])(tests?|specs?|fixtures?|examples?|samples?|templates?|dist|tmp|temp|backups?|old|bak)([/._-]|$)/i.test(
    path,
  )
}
