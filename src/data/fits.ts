import { type ColumnShape, heirOf, type SchemaDifference, type SchemaShape } from './schema.ts'

type Reason = (d: SchemaDifference, base: SchemaShape, now: SchemaShape) => string

const REASONS: Readonly<Record<SchemaDifference['object'], Reason>> = {
  table: tableReason,
  column: (d, base, now) => columnReason(d, columnOf(base, d), columnOf(now, d)),
  index: indexReason,
  constraint: d =>
    d.is === 'added' ? 'it may refuse rows that the old release writes' : 'the old release relies on it to refuse rows',
  view: d => (d.is === 'added' ? 'the old release does not ask for it' : 'the old release may ask for it as it was'),
  trigger: d =>
    d.is === 'added' ? 'it acts on what the old release writes' : 'the old release relies on what it did to its rows',
  other: d => {
    if (d.is !== 'added') return 'the old release may use it as it was'
    return d.additive ? 'the old release does not use it' : 'it acts on what the old release asks and writes'
  },
}

function tableReason(d: SchemaDifference, base: SchemaShape, now: SchemaShape): string {
  if (d.is !== 'added') return 'the old release asks for it'
  const shape = now.tables[d.table]
  const parents = shape === undefined ? [] : heirOf(shape, base)
  if (parents.length > 0) return `the old release reads and changes its rows as those of ${parents.join(', ')}`
  const bound = (now.tables[d.table]?.constraints ?? []).flatMap(text => {
    const to = /^foreign key \([^()]+\) references ([^()]+?) ?\(/i.exec(text)?.[1]?.replaceAll(/["`]/g, '')
    const held = to !== undefined && to in base.tables && !/on delete (?:cascade|set null|set default)/i.test(text)
    return held ? [to] : []
  })
  const known = 'the old release does not know it, and leaves it alone'
  return bound.length === 0
    ? known
    : `${known}; rows of ${bound.join(', ')} that it refers to cannot be deleted meanwhile`
}

const UNCOMPUTED = 'rows of the old release for which it cannot be computed are refused'

const UNFILLED = 'it must have a value, and rows of the old release for which that comes out as none are refused'

/** Why a release that only knows the baseline can, or cannot, live with one difference. For people. */
export function reasonFor(d: SchemaDifference, base: SchemaShape, now: SchemaShape): string {
  return REASONS[d.object](d, base, now)
}

function columnOf(schema: SchemaShape, { table, member }: SchemaDifference): ColumnShape | undefined {
  return schema.tables[table]?.columns[member ?? '']
}

function columnReason(d: SchemaDifference, then?: ColumnShape, now?: ColumnShape): string {
  if (d.is === 'gone') return 'the old release reads and writes it: its queries fail'
  if (d.is === 'added') return addedReason(d, now)
  const reasons: string[] = []
  if (then?.type !== now?.type) reasons.push(`the old release expects ${then?.type || 'no type'}`)
  if (then?.nullable === true && now?.nullable === false)
    reasons.push('rows that it writes without a value are refused')
  if (then?.nullable === false && now?.nullable === true) reasons.push('it does not expect rows without a value')
  if (then?.default !== now?.default) reasons.push(`it relies on the default ${then?.default ?? 'of none'}`)
  if (then?.generated !== now?.generated) reasons.push('who writes the value is another now')
  return reasons.join(', and ')
}

function addedReason({ additive }: SchemaDifference, now?: ColumnShape): string {
  if (now === undefined) return ''
  if (now.generated && !now.nullable) return UNFILLED
  if (now.generated && !additive) return UNCOMPUTED
  if (now.generated) return 'it is computed, whoever writes the row'
  if (now.default !== null) return `rows that the old release writes get ${now.default}`
  if (now.nullable) return 'rows that the old release writes stay without it'
  return 'it must have a value, and the old release gives it none: its rows are refused'
}

function indexReason(d: SchemaDifference, base: SchemaShape, now: SchemaShape): string {
  const unique = (schema: SchemaShape) => schema.tables[d.table]?.indexes[d.member ?? '']?.unique === true
  if (d.is === 'added' && unique(now)) return 'it refuses rows that the old release may write'
  if (d.is === 'added') return d.additive ? `it refuses nothing${butLong(d, base, now)}` : UNCOMPUTED
  return unique(base)
    ? 'the old release relies on it to refuse rows'
    : 'queries of the old release may be slow without it'
}

/** Types of PostgreSQL whose values may be longer than an entry of a btree, which is a third of a page. */
const LONG = /^(?:text|bytea|jsonb|character varying)\b(?!\(\d{1,3}\))|\[\]/

function butLong({ table, member }: SchemaDifference, base: SchemaShape, now: SchemaShape): string {
  const on = now.tables[table]?.indexes[member ?? '']?.on ?? ''
  const words = (text: string): readonly string[] => text.match(/[\p{L}_][\p{L}\p{N}_$]*/gu) ?? []
  const btree = (text: string) => text.startsWith('btree (')
  if (!btree(on)) return ''
  const known = Object.values(base.tables[table]?.indexes ?? {}).flatMap(index =>
    btree(index.on) ? words(index.on) : [],
  )
  const long = Object.entries(now.tables[table]?.columns ?? {})
    .filter(([name]) => base.tables[table]?.columns[name] !== undefined)
    .filter(([name, { type }]) => words(on).includes(name) && !known.includes(name) && LONG.test(type))
    .map(([name]) => name)
  return long.length === 0 ? '' : `, but values of ${long.join(', ')} over about 2,700 bytes`
}
