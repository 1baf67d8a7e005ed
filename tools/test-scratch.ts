import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const IN_MEMORY = '/dev/shm'
const NAME = 'bt-'
const OWNER = 'owner'
const TMPFS = 0x01021994
/** What all tests at once may fill, several times over, and what is left for them to run in. */
const ROOM_BYTES = 6 * 2 ** 30

/**
 * The folder that everything of this run lies in. Short: sockets lie in it. In memory where there is room: the servers of
 * the tests make and remove tens of thousands of files, which costs a disk's file system a fifth of all processor time.
 */
export function scratchFolder(): string {
  for (const base of [IN_MEMORY, tmpdir()]) forgetOld(base, NAME)
  return ownFolder(process.env['TMPDIR'] === undefined && hasRoom() && mayRun() ? IN_MEMORY : tmpdir(), NAME)
}

/** A new folder that says whose it is, for `forgetOld`. */
export function ownFolder(base: string, prefix: string): string {
  const folder = mkdtempSync(join(base, prefix))
  writeFileSync(join(folder, OWNER), owner(process.pid))
  return folder
}

function hasRoom(): boolean {
  try {
    const { type, bsize, bavail } = statfsSync(IN_MEMORY)
    const kilobytes = /^MemAvailable: +(\d+) kB$/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1] ?? '0'
    return type === TMPFS && bsize * bavail >= ROOM_BYTES && Number(kilobytes) * 1024 >= ROOM_BYTES
  } catch {
    return false
  }
}

/** Containers have it without the right to run what lies there. */
function mayRun(): boolean {
  const folder = ownFolder(IN_MEMORY, NAME)
  try {
    writeFileSync(join(folder, 'tried'), '#!/bin/sh\n', { mode: 0o755 })
    execFileSync(join(folder, 'tried'))
    return true
  } catch {
    return false
  } finally {
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
  }
}

/** A process as this machine numbers it: in a container the same number is another one. */
function owner(pid: number): string {
  try {
    return `${readlinkSync('/proc/self/ns/pid')} ${pid}`
  } catch {
    return `here ${pid}`
  }
}

/** Removes what runs that were killed left behind. */
export function forgetOld(base: string, prefix: string): void {
  for (const folder of foldersIn(base, prefix)) {
    const said = textOf(join(folder, OWNER))
    const pid = Number(said.split(' ').at(-1))
    if (pid > 0 && said === owner(pid) && !isAlive(pid)) {
      rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
    }
  }
}

function foldersIn(base: string, prefix: string): string[] {
  try {
    return readdirSync(base).flatMap(name => (name.startsWith(prefix) ? [join(base, name)] : []))
  } catch {
    return []
  }
}

function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // Somebody else's is alive, too.
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
