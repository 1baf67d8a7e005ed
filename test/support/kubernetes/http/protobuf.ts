import { badRequest, unsupportedMedia } from '../status.ts'
import { type Fields } from '../types.ts'

/**
 * Kubernetes' protobuf, for the few kinds that typed Go clients send in it (Helm keeps its releases so): the generated.proto
 * of apimachinery's runtime and meta/v1, and of core/v1.
 */
export const PROTOBUF = 'application/vnd.kubernetes.protobuf'

const MAGIC = Buffer.from([0x6b, 0x38, 0x73, 0x00])

type Type = 'text' | 'bytes' | 'int' | 'bool' | Message
type Field = readonly [name: string, type: Type, many?: 'list' | 'map']
type Message = Readonly<Record<number, Field>>

const OWNER: Message = {
  1: ['kind', 'text'],
  3: ['name', 'text'],
  4: ['uid', 'text'],
  5: ['apiVersion', 'text'],
  6: ['controller', 'bool'],
  7: ['blockOwnerDeletion', 'bool'],
}

const META: Message = {
  1: ['name', 'text'],
  2: ['generateName', 'text'],
  3: ['namespace', 'text'],
  5: ['uid', 'text'],
  6: ['resourceVersion', 'text'],
  11: ['labels', 'text', 'map'],
  12: ['annotations', 'text', 'map'],
  13: ['ownerReferences', OWNER, 'list'],
  14: ['finalizers', 'text', 'list'],
}

const MESSAGES: Readonly<Record<string, Message>> = {
  Secret: {
    1: ['metadata', META],
    2: ['data', 'bytes', 'map'],
    3: ['type', 'text'],
    4: ['stringData', 'text', 'map'],
    5: ['immutable', 'bool'],
  },
  ConfigMap: {
    1: ['metadata', META],
    2: ['data', 'text', 'map'],
    3: ['binaryData', 'bytes', 'map'],
    4: ['immutable', 'bool'],
  },
  DeleteOptions: {
    1: ['gracePeriodSeconds', 'int'],
    2: ['preconditions', { 1: ['uid', 'text'], 2: ['resourceVersion', 'text'] }],
    4: ['propagationPolicy', 'text'],
    5: ['dryRun', 'text', 'list'],
  },
}

const TYPE: Message = { 1: ['apiVersion', 'text'], 2: ['kind', 'text'] }
const UNKNOWN: Message = { 1: ['type', TYPE], 2: ['raw', 'bytes'] }

export function decodeProtobuf(body: Buffer): Fields {
  if (!body.subarray(0, 4).equals(MAGIC)) throw badRequest('provided data does not appear to be a protobuf message')
  const { type, raw } = read(body.subarray(4), UNKNOWN) as { type: { apiVersion: string; kind: string }; raw: string }
  const message = MESSAGES[type.kind]
  if (message === undefined) throw unsupportedMedia(['application/json', 'application/yaml'])
  return { ...type, ...dropEmpty(read(Buffer.from(raw, 'base64'), message)) }
}

/** proto2 sends what is empty too: Go leaves that out of JSON. */
function dropEmpty(fields: Fields): Fields {
  const entries = Object.entries(fields).filter(([, value]) => value !== '')
  const metadata = fields['metadata']
  return { ...Object.fromEntries(entries), ...(metadata === undefined ? {} : { metadata: plain(metadata as Fields) }) }
}

function plain(fields: Fields): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== ''))
}

function read(buffer: Buffer, message: Message): Fields {
  const fields: Fields = {}
  const at = { position: 0 }
  while (at.position < buffer.length) {
    const tag = varint(buffer, at)
    const value = wire(buffer, at, tag & 7)
    const field = message[tag >> 3]
    if (field === undefined) continue
    const [name, type, many] = field
    if (many === 'map') {
      const entry = read(value as Buffer, { 1: ['key', 'text'], 2: ['value', type] })
      fields[name] = { ...(fields[name] as Fields), [entry['key'] as string]: entry['value'] ?? '' }
    } else if (many === 'list') {
      fields[name] = [...((fields[name] as unknown[]) ?? []), typed(value, type)]
    } else {
      fields[name] = typed(value, type)
    }
  }
  return fields
}

function typed(value: Buffer | number, type: Type): unknown {
  if (typeof value === 'number') return type === 'bool' ? value !== 0 : value
  if (type === 'text') return value.toString('utf8')
  return typeof type === 'object' ? read(value, type) : value.toString('base64')
}

function wire(buffer: Buffer, at: { position: number }, kind: number): Buffer | number {
  if (kind === 0) return varint(buffer, at)
  const length = kind === 2 ? varint(buffer, at) : kind === 1 ? 8 : 4
  const start = at.position
  at.position += length
  return buffer.subarray(start, at.position)
}

function varint(buffer: Buffer, at: { position: number }): number {
  let value = 0
  for (let shift = 0; ; shift += 7) {
    const byte = buffer[at.position] ?? 0
    at.position += 1
    value += (byte & 0x7f) * 2 ** shift
    if (byte < 0x80) return value
  }
}
