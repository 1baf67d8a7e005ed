import { type Document, isMap, isScalar, type LineCounter, type Node as YamlNode } from 'yaml'

/** Where a value stands in the file, for messages. */
export interface Source {
  readonly file: string
  readonly text: string
  readonly document: Document
  readonly lines: LineCounter
}

/** Whether the file says anything at a path. */
export function stands(document: Document, path: readonly PropertyKey[]): boolean {
  return document.hasIn(path.map(part => (typeof part === 'number' ? part : String(part))))
}

/** The node at a path, or the nearest one above it. `key` wants the key itself rather than its value. */
export function nodeAt(document: Document, path: readonly PropertyKey[], key = false): YamlNode | null {
  let node: unknown = document.contents
  let last: unknown = node
  for (const [i, part] of path.entries()) {
    if (isMap(node)) {
      const pair = node.items.find(item => isScalar(item.key) && String(item.key.value) === String(part))
      if (pair === undefined) return last as YamlNode | null
      last = pair.key
      node = i === path.length - 1 && key ? pair.key : (pair.value ?? pair.key)
    } else {
      const child: unknown = (node as { items?: unknown[] } | null)?.items?.[Number(part)]
      if (child === undefined) return last as YamlNode | null
      node = child
    }
    last = node
  }
  return last as YamlNode | null
}

/** Line and column of what a path or an offset leads to, both from 1. */
export function placeOf(
  source: Source,
  { path, offset, key }: { path: readonly PropertyKey[]; offset?: number; key?: boolean },
): { line: number; column: number } {
  const at = offset ?? nodeAt(source.document, path, key)?.range?.[0] ?? 0
  const { line, col } = source.lines.linePos(Math.min(at, Math.max(0, source.text.length - 1)))
  return { line: Math.max(1, line), column: Math.max(1, col) }
}
