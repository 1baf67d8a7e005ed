import { createReadStream, createWriteStream } from 'node:fs'
import { PassThrough, type Readable, Transform, type Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { constants, createZstdCompress, createZstdDecompress } from 'node:zlib'
import { sweeping } from '../../data/sweeping.ts'

const PIECE = 256 * 1024

/** Counts what goes through it, and lets no more than `perSecond` bytes through in a second. */
function counted(seen: (bytes: number) => void, perSecond: number | undefined): Transform {
  const began = performance.now()
  let total = 0
  const sweep = sweeping()
  return new Transform({
    highWaterMark: PIECE,
    async transform(chunk: Buffer, _encoding, done) {
      total += chunk.length
      seen(total)
      sweep(chunk)
      const early = perSecond === undefined ? 0 : (total / perSecond) * 1000 - (performance.now() - began)
      if (early > 1) await sleep(early)
      done(null, chunk)
    },
  })
}

interface Packed {
  /** Takes the bytes to be packed. */
  readonly into: Writable
  /** Resolves once the file is whole, rejects where it could not be written. */
  readonly written: Promise<void>
}

/** A file of zstd with checksums, written as fast as the disk takes it. `level`: 1 to 19. */
export function packedFile(
  path: string,
  level: number,
  perSecond: number | undefined,
  seen: (bytes: number) => void,
): Packed {
  const into = counted(seen, perSecond)
  const zstd = createZstdCompress({
    chunkSize: PIECE,
    params: { [constants.ZSTD_c_compressionLevel]: level, [constants.ZSTD_c_checksumFlag]: 1 },
  })
  const file = createWriteStream(path, { mode: 0o600, flush: true, highWaterMark: PIECE })
  const written = new Promise<void>((resolve, reject) => {
    const failed = (error: Error) => {
      into.destroy(error)
      zstd.destroy()
      file.destroy()
      reject(error)
    }
    into.on('error', failed)
    zstd.on('error', failed)
    file.on('error', failed)
    file.on('close', resolve)
  })
  into.pipe(zstd).pipe(file)
  return { into, written }
}

/** What was packed. Errors of the file and of its content come as errors of the stream. */
export function unpacked(path: string, seen: (bytes: number) => void): Readable {
  const file = createReadStream(path, { highWaterMark: PIECE })
  const zstd = createZstdDecompress({ chunkSize: PIECE })
  const out = new PassThrough({ highWaterMark: PIECE })
  let total = 0
  file.on('data', chunk => seen((total += chunk.length)))
  file.on('error', error => out.destroy(error))
  zstd.on('error', error => out.destroy(error))
  zstd.on('data', sweeping())
  file.pipe(zstd).pipe(out)
  out.on('close', () => {
    file.destroy()
    zstd.destroy()
  })
  return out
}
