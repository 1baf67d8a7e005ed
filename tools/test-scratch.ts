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
  const base = process.env['TMPDIR'] === undefined && hasRoom() && mayRun() ? IN_MEMORY : tmpdir()
  for (const each of new Set([base, IN_MEMORY, tmpdir()])) forgetOld(each)
  return made(base)
}

function made(base: string): string {
  const folder = mkdtempSync(join(base, NAME))
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
  const folder = made(IN_MEMORY)
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

/** What a run that was killed left behind. */
function forgetOld(base: string): void {
  for (const name of names(base)) {
    const folder = join(base, name)
    const pid = Number(textOf(join(folder, OWNER)).split(' ').at(-1))
    if (pid > 0 && textOf(join(folder, OWNER)) === owner(pid) && !isAlive(pid))
      rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
  }
}

function names(base: string): string[] {
  try {
    return readdirSync(base).filter(name => name.startsWith(NAME))
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

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // Somebody else's is alive, too.
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
