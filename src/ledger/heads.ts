import { appendFile, mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Head } from '../core/engine.ts'

/** Heads of the journal that were announced, kept beside the keys: a journal that was cut or rewritten no longer has them. */
export async function announceHead(folder: string, head: Head): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  await appendFile(join(folder, 'heads'), `${head.length}:${head.mac}\n`, { mode: 0o600, flush: true })
}

export async function announcedHeads(folder: string): Promise<Head[]> {
  const text = await readFile(join(folder, 'heads'), 'utf8').catch(() => '')
  return text.split('\n').flatMap(line => parseHead(line) ?? [])
}

/** Reads "n:mac"; null for anything else. */
export function parseHead(text: string): Head | null {
  const match = /^(\d+):([0-9a-f]{64})$/.exec(text.trim())
  return match === null ? null : { length: Number(match[1]), mac: match[2] ?? '' }
}
