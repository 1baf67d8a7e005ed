import { z } from 'zod'
import { hashOf } from '../core/json.ts'
import { mayFail } from './may-fail.ts'
import { plainView } from './view-text.ts'

/** What a schema is, in words that every database shares. Names are as the database shows them. */
const columnShape = z.object({
  type: z.string(),
  nullable: z.boolean(),
  /** The default as SQL. */
  default: z.string().nullable(),
  generated: z.boolean(),
  /** How it is computed, where neither type nor default say so. No part of what is compared. */
  computed: z.string().optional(),
  /** The database's own number of it, which survives a rename; of this database only. */
  id: z.string().optional(),
})
export type ColumnShape = z.infer<typeof columnShape>

const tableShape = z.object({
  columns: z.record(z.string(), columnShape),
  /** Columns of the primary key, in its order. Empty: none. */
  key: z.array(z.string()),
  indexes: z.record(z.string(), z.object({ unique: z.boolean(), on: z.string() })),
  /** Keys, uniqueness, checks and whatever else binds the rows, one text each, sorted. */
  constraints: z.array(z.string()),
  /** As for columns. */
  id: z.string().optional(),
  /** Who may do what with it: "app: UPDATE". No part of what is compared: a backup may be loaded without. Left out: nobody asked. */
  rights: z.array(z.string()).optional(),
})
export type TableShape = z.infer<typeof tableShape>

export const schemaShape = z.object({
  tables: z.record(z.string(), tableShape),
  views: z.record(z.string(), z.string()),
  triggers: z.record(z.string(), z.string()),
  /** Whatever else binds an application: "function slug(text)", "type mood", "sequence order_no" -> its definition. */
  others: z.record(z.string(), z.string()).default({}),
})
export type SchemaShape = z.infer<typeof schemaShape>

export interface SchemaDifference {
  readonly object: 'table' | 'column' | 'index' | 'constraint' | 'view' | 'trigger' | 'other'
  /** Seen from the baseline: `added` since, `gone` since. */
  readonly is: 'added' | 'gone' | 'changed'
  /** "orders", "orders.discount". */
  readonly name: string
  /** The table it belongs to, and the column or index in it; null for what is no part of a table. */
  readonly table: string
  readonly member: string | null
  /** For people: "column orders.discount was added (NUMERIC, nullable)". */
  readonly text: string
  /** True where code that only knows the baseline can read and write as before. */
  readonly additive: boolean
}

/** One hash for one schema. The order of columns does not count: undoing a migration may change it; ids and rights neither. */
export function schemaHash({ tables, views, triggers, others }: SchemaShape): string {
  const plain = Object.entries(tables).map(([name, { id: _id, rights: _rights, ...table }]) => [
    name,
    { ...table, columns: withoutIds(table) },
  ])
  const known = { tables: Object.fromEntries(plain), views: plainViews(views), triggers }
  return hashOf(Object.keys(others).length === 0 ? known : { ...known, others })
}

function plainViews(views: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(views).map(([name, text]) => [name, plainView(text)]))
}

function withoutIds({ columns }: TableShape): Record<string, ColumnShape> {
  return Object.fromEntries(
    Object.entries(columns).map(([name, { id: _id, computed: _computed, ...column }]) => [name, column]),
  )
}

/** Everything in which `now` differs from the baseline, tables first, by name. */
export function compareSchemas(base: SchemaShape, now: SchemaShape): SchemaDifference[] {
  const out: SchemaDifference[] = []
  for (const name of names(base.tables, now.tables)) {
    const [a, b] = [base.tables[name], now.tables[name]]
    if (a === undefined && b !== undefined) {
      out.push(difference('table', 'added', [name], '', heirOf(b, base).length === 0))
    }
    if (a !== undefined && b === undefined) out.push(difference('table', 'gone', [name], '', false))
    if (a !== undefined && b !== undefined) out.push(...compareTables(name, a, b))
  }
  out.push(...compareTexts('view', plainViews(base.views), plainViews(now.views), () => true))
  out.push(...compareTexts('trigger', base.triggers, now.triggers, () => false))
  out.push(...compareTexts('other', base.others, now.others, name => !actsOn(base, name)))
  return out
}

/** Tables of the baseline in which the rows of this one are seen too. */
export function heirOf({ constraints }: TableShape, { tables }: SchemaShape): string[] {
  const parents = constraints.flatMap(text => /^inherits (.+)$/.exec(text)?.[1]?.replaceAll('"', '') ?? [])
  return Object.keys(tables).filter(name => parents.includes(name.replaceAll('"', '')))
}

function compareTables(table: string, base: TableShape, now: TableShape): SchemaDifference[] {
  const out: SchemaDifference[] = []
  for (const column of names(base.columns, now.columns)) {
    const [a, b] = [base.columns[column], now.columns[column]]
    if (a === undefined && b !== undefined) {
      const free = b.generated ? alwaysComputed(b) : b.nullable || b.default !== null
      out.push(difference('column', 'added', [table, column], shown(b), free))
    } else if (b === undefined) out.push(difference('column', 'gone', [table, column], '', false))
    else if (a !== undefined && shown(a) !== shown(b)) {
      out.push(difference('column', 'changed', [table, column], `${shown(a)} -> ${shown(b)}`, false))
    }
  }
  for (const index of names(base.indexes, now.indexes)) {
    const [a, b] = [base.indexes[index], now.indexes[index]]
    if (a === undefined && b !== undefined)
      out.push(difference('index', 'added', [table, index], b.on, !b.unique && !mayFail(withoutTable(table, b.on))))
    else if (b === undefined) out.push(difference('index', 'gone', [table, index], '', false))
    else if (a !== undefined && (a.on !== b.on || a.unique !== b.unique)) {
      out.push(difference('index', 'changed', [table, index], `${a.on} -> ${b.on}`, false))
    }
  }
  const [then, after] = [bindings(base), bindings(now)]
  for (const text of after.filter(c => !then.includes(c))) {
    out.push(difference('constraint', 'added', [table], text, false))
  }
  for (const text of then.filter(c => !after.includes(c))) {
    out.push(difference('constraint', 'gone', [table], text, false))
  }
  return out
}

/** For every row that takes its other values: it may be NULL, and nothing that it is worked out by may fail. */
function alwaysComputed({ nullable, computed, default: as, type }: ColumnShape): boolean {
  const known = computed !== undefined || as !== null || / as \(/i.test(type)
  // A text may be no JSON.
  if (computed?.includes('->') === true) return false
  return nullable && known && !mayFail(`${computed ?? ''} ${as ?? ''} ${type}`)
}

/** SQLite names the table first, which then reads like a function: `t(n)`. */
function withoutTable(table: string, on: string): string {
  const [all = '', name = ''] = /^("(?:[^"]|"")*"|`[^`]*`|\[[^\]]*\]|[^\s("`[]+)\s*(?=\()/.exec(on) ?? []
  const plain = name.replaceAll(/^["`[]|["`\]]$/g, '').replaceAll('""', '"')
  return plain.toLowerCase() === table.toLowerCase() ? on.slice(all.length) : on
}

/** The constraints, and the primary key in the same words where the system does not tell it as one of them. */
function bindings({ constraints, key }: TableShape): string[] {
  const told = key.length === 0 || constraints.some(text => /^primary key\b/i.test(text))
  return told ? constraints : [...constraints, `primary key (${key.join(', ')})`]
}

function compareTexts(
  object: 'view' | 'trigger' | 'other',
  base: Record<string, string>,
  now: Record<string, string>,
  additive: (name: string) => boolean,
): SchemaDifference[] {
  return names(base, now).flatMap(name => {
    if (base[name] === undefined) return [difference(object, 'added', [name], '', additive(name))]
    if (now[name] === undefined) return [difference(object, 'gone', [name], '', false)]
    return base[name] === now[name] ? [] : [difference(object, 'changed', [name], '', false)]
  })
}

/** What changes statements that were written before it was there: those of tables that are new are nobody's yet. */
function actsOn({ tables }: SchemaShape, name: string): boolean {
  if (!/^(?:rule|policy|event|event trigger|cast|operator) /.test(name)) return false
  const table = /^(?:rule|policy) (.+)\.[^.]+$/.exec(name)?.[1]
  return table === undefined || tables[table] !== undefined
}

function difference(
  object: SchemaDifference['object'],
  is: SchemaDifference['is'],
  [table, member]: readonly [table: string, member?: string],
  detail: string,
  additive: boolean,
): SchemaDifference {
  const name = member === undefined ? table : `${table}.${member}`
  const verb = { added: 'was added', gone: 'is gone', changed: 'was changed' }[is]
  return {
    object,
    is,
    name,
    table,
    member: member ?? null,
    additive,
    text: `${object === 'other' ? '' : `${object} `}${name} ${verb}${detail && ` (${detail})`}`,
  }
}

function shown(column: ColumnShape): string {
  const parts = [column.type || 'no type', column.nullable ? 'nullable' : 'not null']
  if (column.default !== null) parts.push(`default ${column.default}`)
  if (column.generated) parts.push('generated')
  return parts.join(', ')
}

function names(a: object, b: object): string[] {
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].sort()
}
