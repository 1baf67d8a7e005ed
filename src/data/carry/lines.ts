import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createZstdCompress, createZstdDecompress } from 'node:zlib'
import { z } from 'zod'
import { BackoutError, messageOf } from '../../core/errors.ts'

export const lineFile = z.object({
  /** Relative to the folder. */
  path: z.string(),
  lines: z.number(),
  bytes: z.number(),
  /** Of the compressed file. */
  sha256: z.string(),
})
export type LineFile = z.infer<typeof lineFile>

/** One line of an archive: a row of theirs. Values are exact texts. */
export const archivedRow = z.object({
  key: z.record(z.string(), z.string().nullable()),
  values: z.record(z.string(), z.string().nullable()),
})
export type ArchivedRow = z.infer<typeof archivedRow>

/** Writes lines of JSON, compressed (zstd), into a file of its own; memory stays flat. `write` answers how many there are. */
export async function writeLines(
  dir: string,
  path: string,
  fill: (line: (value: unknown) => Promise<void>) => Promise<void>,
): Promise<LineFile> {
  const to = join(dir, path)
  await mkdir(dirname(to), { recursive: true, mode: 0o700 })
  const zstd = createZstdCompress()
  const hash = createHash('sha256')
  let bytes = 0
  const measured = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk)
      bytes += chunk.length
      done(null, chunk)
    },
  })
  const written = pipeline(zstd, measured, createWriteStream(to, { mode: 0o600, flush: true }))
  let lines = 0
  let broken = false
  let unfilled: { readonly error: unknown } | null = null
  const put = async (value: unknown) => {
    lines++
    if (zstd.write(`${JSON.stringify(value)}\n`)) return
    await once(zstd, 'drain').catch((error: unknown) => {
      broken = true
      throw error
    })
  }
  const filled = fill(put).then(
    () => zstd.end(),
    (error: unknown) => {
      if (!broken) unfilled = { error }
      zstd.destroy(error as Error)
      throw error
    },
  )
  try {
    await Promise.all([filled, written])
  } catch (error) {
    throw unfilled === null ? notWritten(to, error) : (unfilled as { error: unknown }).error
  }
  return { path, lines, bytes, sha256: hash.digest('hex') }
}

function notWritten(to: string, error: unknown): BackoutError {
  return new BackoutError({
    code: 'archive_failed',
    what: `${to} could not be written`,
    cause: messageOf(error),
    next: 'free space on that disk, then do it again',
    exit: 'failed',
    from: error,
  })
}

/** Reads the lines again. Throws `archive_altered` where the file is not what was written. */
export async function readLines(
  dir: string,
  file: LineFile,
  line: (value: unknown) => void | Promise<void>,
): Promise<void> {
  const from = join(dir, file.path)
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(from)) hash.update(chunk as Buffer)
  if (hash.digest('hex') !== file.sha256) {
    throw new BackoutError({
      code: 'archive_altered',
      what: `${from} is not what was written`,
      next: 'bring it back from a copy of the home',
      exit: 'tampered',
    })
  }
  const text = createReadStream(from).pipe(createZstdDecompress())
  for await (const found of createInterface({ input: text, crlfDelay: Infinity })) {
    if (found !== '') await line(JSON.parse(found))
  }
}
