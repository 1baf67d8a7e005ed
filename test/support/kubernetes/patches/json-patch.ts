import { badRequest, unprocessable } from '../status.ts'
import { copy, isFields, same } from '../types.ts'

interface Operation {
  op: string
  path: string
  from?: string
  value?: unknown
}

/** RFC 6902, as the API server's library applies it: any operation that does not apply fails the whole patch with 422. */
export function jsonPatch(document: unknown, patch: unknown): unknown {
  if (!Array.isArray(patch))
    throw badRequest('error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch')
  const root = { '': copy(document) }
  for (const operation of patch as Operation[]) apply(root, operation)
  return root['']
}

function apply(root: { '': unknown }, operation: Operation): void {
  const { op, path } = operation
  if (op === 'test') {
    const found = read(root, path)
    const wanted = operation.value ?? null
    if (!same(found ?? null, wanted)) throw unprocessable()
    return
  }
  if (op === 'remove') {
    remove(root, path)
  } else if (op === 'add') {
    add(root, path, operation.value)
  } else if (op === 'replace') {
    if (read(root, path) === undefined) throw unprocessable()
    write(root, path, operation.value)
  } else if (op === 'move' || op === 'copy') {
    const value = read(root, operation.from ?? '')
    if (value === undefined) throw unprocessable()
    if (op === 'move') remove(root, operation.from ?? '')
    add(root, path, copy(value))
  } else {
    throw badRequest(`Unexpected kind: ${op}`)
  }
}

function tokens(pointer: string): string[] {
  if (pointer === '') return ['']
  if (!pointer.startsWith('/')) throw unprocessable()
  return pointer.split('/').map(token => token.replaceAll('~1', '/').replaceAll('~0', '~'))
}

/** The container that a pointer's last token stands in. */
function parent(root: { '': unknown }, pointer: string): { holder: unknown; last: string } {
  const path = tokens(pointer)
  const last = path.at(-1) ?? ''
  let holder: unknown = root
  for (const token of path.slice(0, -1)) holder = child(holder, token)
  return { holder, last }
}

function child(holder: unknown, token: string): unknown {
  if (Array.isArray(holder)) return holder[Number(token)]
  return isFields(holder) ? holder[token] : undefined
}

function read(root: { '': unknown }, pointer: string): unknown {
  const { holder, last } = parent(root, pointer)
  return child(holder, last)
}

function index(list: readonly unknown[], token: string, highest: number): number {
  const at = token === '-' ? list.length : /^\d+$/.test(token) ? Number(token) : -1
  if (at < 0 || at > highest) throw unprocessable()
  return at
}

function add(root: { '': unknown }, pointer: string, value: unknown): void {
  const { holder, last } = parent(root, pointer)
  if (Array.isArray(holder)) holder.splice(index(holder, last, holder.length), 0, value)
  else write(root, pointer, value)
}

function write(root: { '': unknown }, pointer: string, value: unknown): void {
  const { holder, last } = parent(root, pointer)
  if (Array.isArray(holder)) holder[index(holder, last, holder.length - 1)] = value
  else if (isFields(holder)) holder[last] = value
  else throw unprocessable()
}

function remove(root: { '': unknown }, pointer: string): void {
  const { holder, last } = parent(root, pointer)
  if (Array.isArray(holder)) holder.splice(index(holder, last, holder.length - 1), 1)
  else if (isFields(holder) && last in holder) delete holder[last]
  else throw unprocessable()
}
