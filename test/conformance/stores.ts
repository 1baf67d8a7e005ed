import { createHash, createHmac, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { mkdir, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import type { Backup, BackupStore, Vault } from '../../src/core/contract.ts'

/** A vault that keeps its content in memory. */
export function memoryVault(key: Uint8Array = randomBytes(32)): Vault {
  const kept = new Map<string, Uint8Array>()
  const mac = (content: Uint8Array) => createHmac('sha256', key).update(content).digest('hex')
  return {
    mac,
    async seal(content) {
      const id = mac(content).slice(0, 16)
      kept.set(id, Uint8Array.from(content))
      return { id, mac: mac(content) }
    },
    async open(sealed) {
      const content = kept.get(sealed.id)
      if (content === undefined) throw new Error(`no sealed content ${sealed.id}`)
      return content
    },
  }
}

async function filesOf(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true })
  return entries.filter(e => e.isFile()).map(e => relative(dir, join(e.parentPath, e.name)))
}

const made = new Set<string>()
process.once('exit', () => {
  for (const root of made) rmSync(root, { recursive: true, force: true })
})

/** A catalogue of backups in a temporary folder, forgotten with the process. */
export function memoryBackups(): BackupStore {
  const root = mkdtempSync(join(tmpdir(), 'backout-backups-'))
  made.add(root)
  const known = new Map<string, Backup>()
  const get = async (id: string) => {
    const found = known.get(id)
    if (found === undefined) throw new Error(`no backup ${id}`)
    return found
  }
  const check = async (id: string) => {
    const backup = await get(id)
    const wrong: string[] = []
    for (const file of backup.files) {
      const content = await readFile(join(backup.dir, file.path)).catch(() => null)
      if (content === null) wrong.push(`${file.path} is gone`)
      else if (createHash('sha256').update(content).digest('hex') !== file.sha256)
        wrong.push(`${file.path} was altered`)
    }
    return wrong
  }
  return {
    get,
    check,
    look: check,
    async begin(about) {
      const again = [...known.values()].find(b => about.idem !== undefined && b.idem === about.idem)
      const id = again?.id ?? `${Date.now()}-${about.component}-${randomBytes(3).toString('hex')}`
      const dir = join(root, id)
      known.delete(id)
      await rm(dir, { recursive: true, force: true })
      await mkdir(dir, { recursive: true })
      return {
        id,
        dir,
        async seal(facts) {
          const files = await Promise.all(
            (await filesOf(dir)).map(async path => ({
              path,
              bytes: (await stat(join(dir, path))).size,
              sha256: createHash('sha256')
                .update(await readFile(join(dir, path)))
                .digest('hex'),
            })),
          )
          const bytes = files.reduce((sum, f) => sum + f.bytes, 0)
          const backup: Backup = {
            ...about,
            id,
            dir,
            idem: about.idem ?? null,
            createdAt: new Date().toISOString(),
            bytes,
            files,
            facts,
            proof: null,
          }
          known.set(id, backup)
          return backup
        },
        discard: () => rm(dir, { recursive: true, force: true }),
      }
    },
    list: async component => [...known.values()].filter(b => b.component === component).toReversed(),
    async recordProof(id, proof) {
      const proven = { ...(await get(id)), proof }
      known.set(id, proven)
      return proven
    },
  }
}
