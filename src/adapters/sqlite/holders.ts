import { readdir, readFile, readlink, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'

export interface Holder {
  readonly pid: number
  readonly command: string
}

/**
 * Other processes that have the file open, as far as /proc shows them. SQLite's locks do not tell: an idle connection
 * holds none, and would go on writing into the file that was replaced.
 */
export async function holdersOf(file: string): Promise<Holder[]> {
  const [target, names] = await Promise.all([stat(file).catch(() => null), readdir('/proc').catch(() => [])])
  if (target === null) return []
  const pids = names.filter(name => /^\d+$/.test(name) && Number(name) !== process.pid)
  const held = await Promise.all(pids.map(pid => holds(pid, basename(file), target)))
  return Promise.all(
    pids.filter((_, i) => held[i]).map(async pid => ({ pid: Number(pid), command: await commandOf(pid) })),
  )
}

async function holds(pid: string, name: string, target: { dev: number; ino: number }): Promise<boolean> {
  const dir = `/proc/${pid}/fd`
  for (const fd of await readdir(dir).catch(() => [])) {
    const link = await readlink(join(dir, fd)).catch(() => '')
    if (!link.includes(name)) continue
    const found = await stat(join(dir, fd)).catch(() => null)
    if (found !== null && found.dev === target.dev && found.ino === target.ino) return true
  }
  return false
}

async function commandOf(pid: string): Promise<string> {
  const name = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '?')
  return name.trim()
}
