import type { Destroys, ReadScript } from './down-script.ts'
import { after, nameAt, type Token, topLevel, wordAt } from './sql-words.ts'

/** Drops no column, where it stands right after DROP. */
const NOT_COLUMNS = new Set('CONSTRAINT INDEX KEY PRIMARY FOREIGN CHECK DEFAULT NOT'.split(' '))
/** Begin changes that take nothing away. */
const HARMLESS = new Set(
  `ADD RENAME COMMENT AUTO_INCREMENT DEFAULT CHARACTER CHARSET COLLATE ROW_FORMAT ALGORITHM LOCK ORDER FORCE WAIT NOWAIT ENABLE DISABLE
  WITH WITHOUT KEY_BLOCK_SIZE CHECKSUM STATS_PERSISTENT STATS_AUTO_RECALC STATS_SAMPLE_PAGES ANALYZE CHECK OPTIMIZE REBUILD
  REORGANIZE COALESCE REMOVE PARTITION MAX_ROWS MIN_ROWS AVG_ROW_LENGTH PACK_KEYS PAGE_CHECKSUM PAGE_COMPRESSED ENCRYPTED`.split(
    /\s+/,
  ),
)
/** Keep every row; others may keep none. */
const ENGINES = new Set(['INNODB', 'MYISAM', 'ARIA', 'ROCKSDB'])

/** What each of the changes of ALTER TABLE destroys. */
export function altered(words: readonly Token[]): ReadScript {
  const { name: table, next } = nameAt(words, after(words, 'TABLE'))
  const starts = [next, ...topLevel(words, next).flatMap(i => (wordAt(words, i) === ',' ? [i + 1] : []))]
  const read: ReadScript[] = []
  for (const [n, at] of starts.entries()) {
    const change = words.slice(at, (starts[n + 1] ?? words.length + 1) - 1)
    read.push(changed(change, table))
    // "DROP PARTITION a, b": the rest are partitions.
    if (/\bPARTITION\b/.test(`${wordAt(change, 0)} ${wordAt(change, 1)}`)) break
  }
  const ignored = words.slice(0, 3).some((_, i) => wordAt(words, i) === 'IGNORE')
  const doubles: Destroys[] = ignored ? [{ does: 'deletes from', object: 'table', name: table }] : []
  return { destroys: [...doubles, ...read.flatMap(r => r.destroys)], unread: read.flatMap(r => r.unread) }
}

function changed(change: readonly Token[], table: string): ReadScript {
  const [first, second] = [wordAt(change, 0), wordAt(change, 1)]
  const of = (does: Destroys['does'], ...names: string[]): ReadScript => ({
    destroys: names.map(name => ({ does, object: 'table', name })),
    unread: [],
  })
  const column = () => `${table}.${nameAt(change, second === 'COLUMN' ? 2 : 1).name}`
  const narrows = (): ReadScript => ({ destroys: [{ does: 'narrows', object: 'column', name: column() }], unread: [] })
  const unread = {
    destroys: [],
    unread: [`ALTER TABLE ${table} ${first} ${second} does what only the database knows`.replaceAll(/ +/g, ' ')],
  }
  switch (first) {
    case 'DROP':
      return droppedFrom(change, table)
    case 'MODIFY':
    case 'CHANGE':
      return narrows()
    case 'ALTER':
      return after(change, 'TYPE') > 0 ? narrows() : { destroys: [], unread: [] }
    case 'TRUNCATE':
      return of('deletes from', table)
    case 'EXCHANGE':
      return of('changes', table, nameAt(change, after(change, 'TABLE')).name)
    case 'CONVERT':
      return converted(change, table)
    case 'DISCARD':
      return of('empties', table)
    case 'IMPORT':
      return of('changes', table)
    case 'ENGINE':
      return ENGINES.has(wordAt(change, second === '=' ? 2 : 1)) ? { destroys: [], unread: [] } : unread
    default:
      return HARMLESS.has(first) ? { destroys: [], unread: [] } : unread
  }
}

function droppedFrom(change: readonly Token[], table: string): ReadScript {
  const second = wordAt(change, 1)
  // Partitions, and what the rows were like before, which system versioning keeps.
  if (second === 'PARTITION' || (second === 'SYSTEM' && wordAt(change, 2) === 'VERSIONING'))
    return { destroys: [{ does: 'deletes from', object: 'table', name: table }], unread: [] }
  const period = second === 'PERIOD' && wordAt(change, 2) === 'FOR'
  if (NOT_COLUMNS.has(second) || period) return { destroys: [], unread: [] }
  const start = second === 'COLUMN' ? 2 : 1
  const list = change.slice(start).filter(w => w.name || !'(),'.includes(w.text))
  const names = wordAt(change, start) === '(' ? list.map(w => w.text) : [nameAt(change, start).name]
  return { destroys: names.map(name => ({ does: 'drops', object: 'column', name: `${table}.${name}` })), unread: [] }
}

/** Into another character set, which may lack what is written; or a partition into a table, or the other way. */
function converted(change: readonly Token[], table: string): ReadScript {
  const said = change.map((_, i) => wordAt(change, i)).join(' ')
  if (/^CONVERT TO (?:CHARACTER SET|CHARSET) UTF8MB4\b/.test(said)) return { destroys: [], unread: [] }
  const moved = wordAt(change, 1) === 'TABLE' ? nameAt(change, 2).name : null
  const own: Destroys = { does: 'changes', object: 'table', name: table }
  return { destroys: moved === null ? [own] : [{ does: 'drops', object: 'table', name: moved }], unread: [] }
}
