import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs'
import { cpus, loadavg, totalmem } from 'node:os'
import { join } from 'node:path'
import { inFolder, median } from './measure.ts'

/** One line on what the figures were measured on. Nothing tells the kind of disk, so a sync of it is timed. */
export async function machine(date: string | undefined): Promise<string> {
  const sync = await inFolder(async dir => median(syncs(join(dir, 'sync'))))
  const [cpu] = cpus()
  const parts = [
    `${cpus().length} cores (${cpu?.model.trim() ?? 'unknown'})`,
    `${Math.round(totalmem() / 1e9)} GB`,
    `${process.platform}, Node ${process.versions.node}`,
    `a bare append of 100 bytes with fsync takes ${sync.toFixed(2)} ms (median)`,
    `load ${loadavg()[0]?.toFixed(1)} at the end`,
  ]
  return `Measured${date === undefined ? '' : ` ${date}`} on: ${parts.join('; ')}.`
}

function syncs(path: string): number[] {
  const file = openSync(path, 'w')
  const content = Buffer.alloc(100, 'x')
  const times = Array.from({ length: 300 }, () => {
    const began = performance.now()
    writeSync(file, content)
    fsyncSync(file)
    return performance.now() - began
  })
  closeSync(file)
  return times
}
