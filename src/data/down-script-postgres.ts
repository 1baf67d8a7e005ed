import { loadModule, parse } from 'libpg-query'
import type { Destroys, ReadScript } from './down-script.ts'
import { calls, isHarmlessCall } from './sql-calls.ts'

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

/** Dropped with CASCADE, no column goes with them. */
const ALONE = /^OBJECT_(?:TABLE|FOREIGN_TABLE|VIEW|MATVIEW|SCHEMA|INDEX|TRIGGER|RULE|POLICY|SEQUENCE|EVENT_TRIGGER)$/

/** Statements that take no row and no cell away, whatever stands in them. */
const HARMLESS = new Set(
  `CreateStmt ViewStmt CreateFunctionStmt CreateTrigStmt CreateSeqStmt AlterSeqStmt CreateSchemaStmt CreateEnumStmt
  CreateDomainStmt CompositeTypeStmt CreateRangeStmt DefineStmt RenameStmt AlterObjectSchemaStmt AlterObjectDependsStmt AlterOwnerStmt
  CommentStmt SecLabelStmt GrantStmt GrantRoleStmt AlterDefaultPrivilegesStmt TransactionStmt VariableSetStmt VariableShowStmt LockStmt
  CreateExtensionStmt CreatePolicyStmt AlterPolicyStmt RuleStmt CreateCastStmt CreateRoleStmt AlterRoleStmt AlterRoleSetStmt DropRoleStmt
  CreateStatsStmt AlterStatsStmt VacuumStmt ClusterStmt ReindexStmt RefreshMatViewStmt CheckPointStmt ConstraintsSetStmt DiscardStmt
  NotifyStmt ListenStmt UnlistenStmt CreateForeignTableStmt CreateForeignServerStmt CreateFdwStmt CreateUserMappingStmt
  DropUserMappingStmt CreatePublicationStmt AlterPublicationStmt AlterFunctionStmt CreateEventTrigStmt AlterEventTrigStmt
  CreateOpClassStmt CreateOpFamilyStmt AlterOperatorStmt PrepareStmt DeallocateStmt ClosePortalStmt AlterTypeStmt`.split(
    /\s+/,
  ),
)

/** Statements that run what they hold: its rows, its calls (of an index over every row), and what is written in its WITH clauses. */
const RUNS = new Set([
  'SelectStmt',
  'IndexStmt',
  'InsertStmt',
  'UpdateStmt',
  'DeleteStmt',
  'MergeStmt',
  'CopyStmt',
  'CreateTableAsStmt',
  'DeclareCursorStmt',
])

/** Changes of a table that take nothing away. */
const HARMLESS_CHANGE =
  /^AT_(?:Add|Set|Reset|Replace|Enable|Disable|Validate|Attach|Force|NoForce|Change|Cluster|Column|Cooked|AlterConstraint|AlterColumnGeneric|Generic|DetachPartitionFinalize|Drop(?:NotNull|Constraint|Identity|Expression|Cluster|Of|Oids)$)/

/** Reads a script by PostgreSQL's own parser. Throws what the parser says where it is not SQL of PostgreSQL's. */
export async function readPostgres(sql: string): Promise<ReadScript> {
  if (sql.trim() === '') return { destroys: [], unread: [] }
  await loadModule()
  const parsed = (await parse(sql)) as { stmts?: { stmt?: Tree }[] }
  return together((parsed.stmts ?? []).map(each => readStatement(each.stmt ?? {})))
}

function together(read: readonly ReadScript[]): ReadScript {
  return { destroys: read.flatMap(r => r.destroys), unread: read.flatMap(r => r.unread) }
}

function readStatement(statement: Tree): ReadScript {
  const [kind = '', fields] = Object.entries(statement)[0] ?? []
  const tree = (fields ?? {}) as Tree
  const one = (destroys: readonly Destroys[]): ReadScript => ({ destroys, unread: [] })
  if (HARMLESS.has(kind)) return one([])
  if (RUNS.has(kind)) return running(statement)
  switch (kind) {
    case 'DropStmt':
      return { destroys: dropped(tree), unread: cascaded(tree) }
    case 'AlterTableStmt':
      return altered(tree)
    case 'TruncateStmt':
      return one(
        listOf(tree['relations']).map(r => ({ does: 'empties', object: 'table', name: nameOf(r['RangeVar']) })),
      )
    case 'AlterEnumStmt':
    case 'AlterDomainStmt':
      return one([{ does: 'narrows', object: 'type', name: dotted(tree['typeName']) }])
    case 'ExplainStmt': {
      const analyzes = listOf(tree['options']).some(o => (o['DefElem'] as Tree | undefined)?.['defname'] === 'analyze')
      return analyzes ? readStatement(tree['query'] as Tree) : one([])
    }
    case 'DropdbStmt':
      return one([{ does: 'drops', object: 'schema', name: textField(tree['dbname']) }])
    default:
      return { destroys: [], unread: [`${WORDS[kind] ?? kind.replace(/Stmt$/, '')} does what only the database knows`] }
  }
}

const WORDS: Readonly<Record<string, string>> = {
  DoStmt: 'DO',
  CallStmt: 'CALL',
  ExecuteStmt: 'EXECUTE',
  DropOwnedStmt: 'DROP OWNED',
}

/** What a statement writes, and what those in it write: inner ones first. */
function running(node: unknown): ReadScript {
  if (Array.isArray(node)) return together(node.map(running))
  if (typeof node !== 'object' || node === null) return { destroys: [], unread: [] }
  return together(
    Object.entries(node as Tree).flatMap(([kind, inner]) => [running(inner), written(kind, (inner ?? {}) as Tree)]),
  )
}

function written(kind: string, tree: Tree): ReadScript {
  const table = (does: Destroys['does']): ReadScript => ({
    destroys: [{ does, object: 'table', name: nameOf(tree['relation']) }],
    unread: [],
  })
  const conflict = tree['onConflictClause'] as Tree | undefined
  if (kind === 'DeleteStmt') return table('deletes from')
  if (kind === 'UpdateStmt' || kind === 'MergeStmt') return table('changes')
  if (kind === 'InsertStmt' && conflict?.['action'] === 'ONCONFLICT_UPDATE') return table('changes')
  if (kind === 'CopyStmt' && tree['is_from'] === true) return table('changes')
  const names = kind === 'FuncCall' ? listOf(tree['funcname']).map(textOf) : []
  const [called] = names.slice(-1)
  const own = names.length > 1 && names[0] !== 'pg_catalog'
  const strange = called !== undefined && (own || !isHarmlessCall(called))
  return { destroys: [], unread: strange ? [calls(names.join('.'))] : [] }
}

function dropped(tree: Tree): Destroys[] {
  const object = OBJECTS[String(tree['removeType'])]
  if (object === undefined) return []
  return namesIn(tree).map(name => ({ does: 'drops', object, name }))
}

function namesIn(tree: Tree): string[] {
  return listOf(tree['objects']).map(each => {
    const inner = (each['ObjectWithArgs'] as Tree | undefined)?.['objname']
    const named = (each['TypeName'] as Tree | undefined)?.['names'] ?? (each['List'] as Tree | undefined)?.['items']
    return (named ?? inner) === undefined ? textOf(each) : dotted(named ?? inner)
  })
}

/** What else goes where CASCADE takes columns along, which nobody can read here. */
function cascaded(tree: Tree): string[] {
  const kind = String(tree['removeType'])
  if (tree['behavior'] !== 'DROP_CASCADE' || ALONE.test(kind)) return []
  const what = kind.replace('OBJECT_', '').replaceAll('_', ' ')
  return [`DROP ${what} ${namesIn(tree).join(', ')} CASCADE drops the columns that need it, too`]
}

function altered(tree: Tree): ReadScript {
  const table = nameOf(tree['relation'])
  return together(
    listOf(tree['cmds']).map((each): ReadScript => {
      const command = (each['AlterTableCmd'] ?? {}) as Tree
      const what = String(command['subtype'])
      const called = callsOverRows(what, command['def'])
      const one = (destroys: Destroys): ReadScript => ({ destroys: [destroys], unread: called })
      const name = `${table}.${textField(command['name'])}`
      if (what === 'AT_DropColumn') return one({ does: 'drops', object: 'column', name })
      if (what === 'AT_AlterColumnType') return one({ does: 'narrows', object: 'column', name })
      if (what === 'AT_DetachPartition') return one({ does: 'deletes from', object: 'table', name: table })
      if (HARMLESS_CHANGE.test(what)) return { destroys: [], unread: called }
      return { destroys: [], unread: [`${what.replace('AT_', '')} of ${table} does what only the database knows`] }
    }),
  )
}

/** Of what is computed or checked for every row that is there: a default of a new column, a check, an expression, USING. */
function callsOverRows(what: string, def: unknown): readonly string[] {
  const { Constraint: constraint } = (def ?? {}) as { Constraint?: Tree }
  const runs = what === 'AT_AddConstraint' ? constraint?.['skip_validation'] !== true : OVER_ROWS.has(what)
  return runs ? running(def).unread : []
}

const OVER_ROWS = new Set(['AT_AddColumn', 'AT_AlterColumnType', 'AT_SetExpression'])

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
