/** A piece of an env file: a key with its value as written, quotes and all, or anything between. */
export interface Piece {
  readonly key: string | null
  /** As it stands in the file; all pieces in a row are the file. */
  readonly text: string
  /** Where the value begins in `text`. */
  readonly at: number
}

/** A byte order mark, read byte by byte, may come first. */
const ASSIGNMENT = /^(?:\xef\xbb\xbf)?[ \t]*(?:export[ \t]+)?([A-Za-z_][\w.-]*)[ \t]*=[ \t]*/

/** Takes a file apart. Values in quotes may go over several lines; a quote that never closes ends with its line. */
export function piecesOf(content: string): Piece[] {
  const out: Piece[] = []
  let rest = content
  while (rest !== '') {
    const head = ASSIGNMENT.exec(rest)
    const end = head === null ? lineEnd(rest, 0) : valueEnd(rest, head[0].length)
    out.push({ key: head?.[1] ?? null, text: rest.slice(0, end), at: head?.[0].length ?? 0 })
    rest = rest.slice(end)
  }
  return out
}

function valueEnd(text: string, from: number): number {
  const quote = text[from]
  if (quote !== '"' && quote !== "'" && quote !== '`') return lineEnd(text, from)
  for (let at = from + 1; at < text.length; at++) {
    if (text[at] === '\\' && quote === '"') at++
    else if (text[at] === quote) return lineEnd(text, at)
  }
  return lineEnd(text, from)
}

function lineEnd(text: string, from: number): number {
  const at = text.indexOf('\n', from)
  return at < 0 ? text.length : at + 1
}

export function keysOf(content: string): string[] {
  const keys = piecesOf(content).flatMap(piece => (piece.key === null ? [] : [piece.key]))
  return [...new Set(keys)].sort()
}

/**
 * A file as text of one character a byte: what is no UTF-8 stays as it is, and names of keys are ASCII anyway. The
 * counterpart is `bytesOf`.
 */
export function textOf(content: Uint8Array): string {
  return Buffer.from(content).toString('latin1')
}

export function bytesOf(text: string): Buffer {
  return Buffer.from(text, 'latin1')
}

/** The file as it was, but for the keys that keep the value they have today. The last value of a key counts. */
export function composed(then: string, today: string | null, keeps: (key: string) => boolean): string {
  const now = new Map<string, string>()
  for (const piece of piecesOf(today ?? '')) if (piece.key !== null) now.set(piece.key, piece.text.slice(piece.at))
  return piecesOf(then)
    .map(piece => {
      const value = piece.key !== null && keeps(piece.key) ? now.get(piece.key) : undefined
      if (value === undefined) return piece.text
      return `${piece.text.slice(0, piece.at)}${value.replace(/[ \t\r\n]+$/, '')}${/\r?\n$/.exec(piece.text)?.[0] ?? ''}`
    })
    .join('')
}
