import type { Readable } from 'node:stream'

/** What one command prints on one stream of a session that other commands use before and after it. */
export interface Tail {
  readonly text: () => string
  readonly stop: () => void
}

/** Keeps the last bytes that come from now on, and says how many were left out. */
export function tail(stream: Readable, keep: number): Tail {
  let chunks: Buffer[] = []
  let size = 0
  let dropped = 0
  const cut = () => {
    const all = Buffer.concat(chunks)
    dropped += Math.max(0, all.length - keep)
    chunks = [all.subarray(Math.max(0, all.length - keep))]
    size = chunks[0]?.length ?? 0
  }
  const take = (chunk: Buffer) => {
    chunks.push(chunk)
    size += chunk.length
    if (size > keep * 2) cut()
  }
  stream.on('data', take)
  return {
    text() {
      cut()
      return (dropped > 0 ? `[${dropped} bytes left out]\n` : '') + Buffer.concat(chunks).toString('utf8')
    },
    stop: () => void stream.off('data', take),
  }
}

/** Longer than any mark. */
const MARK = 200

/** Calls back once for a mark, however it is cut into chunks. */
function onMark(stream: Readable, mark: RegExp, found: (text: string) => void): () => void {
  let recent = ''
  const look = (chunk: Buffer) => {
    recent = recent.slice(-MARK) + chunk.toString('latin1')
    const match = mark.exec(recent)
    if (match === null) return
    stream.off('data', look)
    found(match[1] ?? '')
  }
  stream.on('data', look)
  return () => void stream.off('data', look)
}

export interface Marked {
  readonly started: Promise<{ pid: number }>
  readonly ended: Promise<void>
  /** Resolves once everything that the command printed is here, and nobody is left who could print more. */
  readonly free: Promise<void>
  /** What the other side said about the end; null where it said nothing. */
  code(): string | null
  stdout(): string
  stderr(): string
  /** All that came, marks included. */
  all(): string
  stop(): void
}

/** Finds the marks of the other side's supervisor in its output, whatever a .bashrc prints before or a daemon after. */
export function marked(streams: { stdout: Readable; stderr: Readable }, nonce: string, keep: number): Marked {
  const started = Promise.withResolvers<{ pid: number }>()
  const ended = Promise.withResolvers<void>()
  const frees = [Promise.withResolvers<void>(), Promise.withResolvers<void>()] as const
  const out = tail(streams.stdout, keep + MARK)
  const err = tail(streams.stderr, keep + MARK)
  const begin = new RegExp(`${nonce} start (\\d+)\\n`)
  const finish = new RegExp(`\\n${nonce} end (\\w+)\\n`)
  const free = new RegExp(`\\n${nonce} free\\n`)
  let code: string | null = null
  const stops = [
    out.stop,
    err.stop,
    onMark(streams.stdout, begin, pid => started.resolve({ pid: Number(pid) })),
    onMark(streams.stdout, finish, said => {
      code = said
      ended.resolve()
    }),
    onMark(streams.stdout, free, () => frees[0].resolve()),
    onMark(streams.stderr, free, () => frees[1].resolve()),
  ]
  return {
    started: started.promise,
    ended: ended.promise,
    free: Promise.all(frees.map(f => f.promise)).then(() => {}),
    code: () => code,
    stdout() {
      const [head, ...rest] = out.text().split(begin)
      return upTo(finish, rest.length > 0 ? (rest.at(-1) ?? '') : (head ?? ''))
    },
    stderr: () => upTo(free, err.text()),
    all: () => out.text() + err.text(),
    stop: () => stops.forEach(stop => stop()),
  }
}

function upTo(mark: RegExp, text: string): string {
  const end = text.search(mark)
  return end < 0 ? text : text.slice(0, end)
}
