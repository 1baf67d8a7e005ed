export type Kind = 'whole' | 'decimal' | 'float' | 'bit' | 'bytes' | 'text' | 'choice' | 'time' | 'json' | 'other'

const KINDS: readonly (readonly [RegExp, Kind])[] = [
  [/^(tiny|small|medium|big)?int\b/, 'whole'],
  [/^year\b/, 'whole'],
  [/^decimal\b/, 'decimal'],
  [/^(float|double)\b/, 'float'],
  [/^bit\b/, 'bit'],
  [/^(var)?binary\b|^(tiny|medium|long)?blob\b/, 'bytes'],
  [/^(geometry|point|linestring|polygon|multi\w+|geometrycollection|geomcollection|vector)\b/, 'bytes'],
  [/^(var)?char\b|^(tiny|medium|long)?text\b/, 'text'],
  [/^(enum|set)\b/, 'choice'],
  [/^(date|datetime|timestamp|time)\b/, 'time'],
  [/^json\b/, 'json'],
]

/** What a type of `ColumnShape` is. */
export function kindOf(type: string): Kind {
  return KINDS.find(([pattern]) => pattern.test(type))?.[1] ?? 'other'
}

/** Its values are bytes, not text or numbers. */
export function isBytes(type: string): boolean {
  return ['bit', 'bytes'].includes(kindOf(type))
}

/** Length of a text, or digits of a number: the numbers in the brackets behind its name. */
export function sizesOf(type: string): number[] {
  return (/^\w+\(([\d, ]+)\)/.exec(type)?.[1] ?? '').split(',').map(Number)
}

const WHOLE_BITS: Readonly<Record<string, number>> = { tinyint: 8, smallint: 16, mediumint: 24, int: 32, bigint: 64 }

/** The lowest and highest number of a whole type. */
export function rangeOf(type: string): readonly [bigint, bigint] | null {
  if (type.startsWith('year')) return [0n, 2155n]
  const bits = WHOLE_BITS[/^\w+/.exec(type)?.[0] ?? '']
  if (bits === undefined) return null
  const all = 1n << BigInt(bits)
  return type.includes('unsigned') ? [0n, all - 1n] : [-all / 2n, all / 2n - 1n]
}

const TEXT_BYTES: Readonly<Record<string, number>> = {
  tinytext: 255,
  tinyblob: 255,
  text: 65_535,
  blob: 65_535,
  mediumtext: 16_777_215,
  mediumblob: 16_777_215,
}

/** The most bytes that a text or blob type without a length takes; null: no such limit. */
export function bytesOf(type: string): number | null {
  return TEXT_BYTES[/^\w+/.exec(type)?.[0] ?? ''] ?? null
}

/** Words of an enum or set. */
export function wordsOf(type: string): string[] {
  const list = /^(?:enum|set)\((.*?)\)(?: character set|$)/.exec(type)?.[1] ?? ''
  return [...list.matchAll(/'((?:[^']|'')*)'/g)].map(m => (m[1] ?? '').replaceAll("''", "'"))
}

export function charsetOf(type: string): string | null {
  return / character set (\w+)/.exec(type)?.[1] ?? null
}

export function collationOf(type: string): string | null {
  return / collate (\w+)/.exec(type)?.[1] ?? null
}
