import { loadModule, parse } from 'libpg-query'
import type { Destroys, ReadScript } from './down-script.ts'

/** A node of PostgreSQL's parse tree: what it is -> its fields. */
type Tree = Readonly<Record<string, unknown>>

const OBJECTS: Readonly<Record<string, Destroys['object']>> = {
  OBJECT_TABLE: 'table',
  OBJECT_FOREIGN_TABLE: 'table',
  OBJECT_VIEW: 'view',
  OBJECT_MATVIEW: 'view',
  OBJECT_TYPE: 'type',
  OBJECT_DOMAIN: 'type',
  OBJECT_SCHEMA: 'schema',
}

/** Reads a script by PostgreSQL's own parser. Throws what the parser says where it is not SQL of PostgreSQL's. */
export async function readPostgres(sql: string): Promise<ReadScript> {
  if (sql.trim() === '') return { destroys: [], unread: [] }
  await loadModule()
  const parsed = (await parse(sql)) as { stmts?: { stmt?: Tree }[] }
  const read = (parsed.stmts ?? []).map(each => readStatement(each.stmt ?? {}))
  return { destroys: read.flatMap(r => r.destroys), unread: read.flatMap(r => r.unread) }
}

function readStatement(statement: Tree): ReadScript {
  const [kind = '', fields] = Object.entries(statement)[0] ?? []
  const tree = (fields ?? {}) as Tree
  const all = (...destroys: Destroys[]): ReadScript => ({ destroys: [...within(tree), ...destroys], unread: [] })
  const table = (does: Destroys['does'], relation: unknown) => all({ does, object: 'table', name: nameOf(relation) })
  switch (kind) {
    case 'DropStmt':
      return all(...dropped(tree))
    case 'AlterTableStmt':
      return all(...altered(tree))
    case 'TruncateStmt':
      return all(
        ...listOf(tree['relations']).map(
          (r): Destroys => ({ does: 'empties', object: 'table', name: nameOf(r['RangeVar']) }),
        ),
      )
    case 'DeleteStmt':
      return table('deletes from', tree['relation'])
    case 'UpdateStmt':
    case 'MergeStmt':
      return table('changes', tree['relation'])
    case 'AlterEnumStmt':
    case 'AlterDomainStmt':
      return all({ does: 'narrows', object: 'type', name: dotted(tree['typeName']) })
    case 'DoStmt':
    case 'CallStmt':
    case 'ExecuteStmt':
      return { destroys: [], unread: [`${WORDS[kind] ?? kind} does what only the database knows`] }
    case 'CopyStmt':
      return tree['is_from'] === true ? table('changes', tree['relation']) : all()
    default:
      return all()
  }
}

const WORDS: Readonly<Record<string, string>> = { DoStmt: 'DO', CallStmt: 'CALL', ExecuteStmt: 'EXECUTE' }

/** DELETE and UPDATE in a WITH clause. */
function within(tree: Tree): Destroys[] {
  const clause = tree['withClause'] as Tree | undefined
  return listOf(clause?.['ctes']).flatMap(cte => {
    const query = (cte['CommonTableExpr'] as Tree | undefined)?.['ctequery']
    return query === undefined ? [] : [...readStatement(query as Tree).destroys]
  })
}

function dropped(tree: Tree): Destroys[] {
  const object = OBJECTS[String(tree['removeType'])]
  if (object === undefined) return []
  return listOf(tree['objects']).map(each => {
    const named = (each['TypeName'] as Tree | undefined)?.['names'] ?? (each['List'] as Tree | undefined)?.['items']
    return { does: 'drops', object, name: named === undefined ? textOf(each) : dotted(named) }
  })
}

function altered(tree: Tree): Destroys[] {
  const table = nameOf(tree['relation'])
  return listOf(tree['cmds']).flatMap((each): Destroys[] => {
    const command = (each['AlterTableCmd'] ?? {}) as Tree
    const name = `${table}.${textField(command['name'])}`
    if (command['subtype'] === 'AT_DropColumn') return [{ does: 'drops', object: 'column', name }]
    if (command['subtype'] === 'AT_AlterColumnType') return [{ does: 'narrows', object: 'column', name }]
    return []
  })
}

function nameOf(relation: unknown): string {
  const { schemaname, relname } = (relation ?? {}) as Tree
  return [schemaname, relname].filter(part => typeof part === 'string').join('.')
}

function dotted(names: unknown): string {
  return listOf(names).map(textOf).join('.')
}

function textOf(node: Tree): string {
  return textField((node['String'] as Tree | undefined)?.['sval'])
}

function textField(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

function listOf(value: unknown): readonly Tree[] {
  return Array.isArray(value) ? (value as Tree[]) : []
}
