import { text } from './names.ts'
import type { Session } from './session.ts'

const QUOTED = '(?:`(?:[^`]|``)*`|"(?:[^"]|"")*")'
const LINE = new RegExp(`^GRANT (.+?) ON (?:TABLE )?(\\*|${QUOTED})\\.(\\*|${QUOTED}) TO `)

interface Grant {
  readonly rights: ReadonlySet<string>
  /** Of databases' names; null: of every one. */
  readonly database: RegExp | null
  /** null: all of them. */
  readonly table: string | null
}

/** What this login may do, as the server shows it. Rights to single columns and routines count as none. */
export class Grants {
  /** For SQL: 'app'@'%'. */
  readonly account: string
  readonly #grants: readonly Grant[]

  constructor(account: string, lines: readonly string[]) {
    this.account = account
    this.#grants = lines.flatMap(grantOf)
  }

  /** Those of `rights` that are missing on a whole database; null: on the server. */
  missing(rights: readonly string[], database: string | null, table: string | null = null): string[] {
    const given = this.#grants.filter(
      g =>
        (g.database === null || (database !== null && g.database.test(database))) &&
        (g.table === null || (table !== null && g.table === table)),
    )
    return rights.filter(right => !given.some(g => g.rights.has(right) || g.rights.has('ALL PRIVILEGES')))
  }
}

export async function grantsOf(session: Session): Promise<Grants> {
  const [who] = await session.query('SELECT CURRENT_USER() AS account')
  const account = text(who?.['account'])
  const at = account.lastIndexOf('@')
  const quoted = [account.slice(0, at), account.slice(at + 1)].map(part => `'${part.replaceAll("'", "''")}'`).join('@')
  const rows = await session.query(await showing(session))
  const lines = rows.map(row => text(Object.values(row)[0]))
  return new Grants(quoted, lines)
}

/** MariaDB shows what the session's role gives too; MySQL where the roles are named. */
async function showing(session: Session): Promise<string> {
  if (session.flavour.mariadb) return 'SHOW GRANTS'
  const [row] = await session.query('SELECT CURRENT_ROLE() AS roles')
  const roles = text(row?.['roles'])
  return roles === '' || roles === 'NONE' ? 'SHOW GRANTS' : `SHOW GRANTS FOR CURRENT_USER() USING ${roles}`
}

function grantOf(line: string): Grant[] {
  const [, rights = '', database = '', table = ''] = LINE.exec(line) ?? []
  // A list in parentheses names columns: SELECT (id, total).
  const whole = rights.replaceAll(/[A-Z ]+\([^)]*\)/g, '').split(',')
  const names = new Set(whole.map(r => r.trim()).filter(r => r !== ''))
  if (names.size === 0 || database === '') return []
  const pattern = database === '*' ? null : likeOf(nameIn(database), table === '*')
  return [{ rights: names, database: pattern, table: table === '*' ? null : nameIn(table) }]
}

function nameIn(quoted: string): string {
  const mark = quoted[0] ?? ''
  return quoted.slice(1, -1).replaceAll(mark + mark, mark)
}

/** In a grant on a whole database "_" and "%" stand for any characters, unless a backslash is before them. */
function likeOf(name: string, wild: boolean): RegExp {
  const parts = [...name.matchAll(/\\([_%])|([^])/g)].map(([, escaped, other = '']) => {
    if (escaped !== undefined) return escaped
    if (wild && other === '%') return '[^]*'
    if (wild && other === '_') return '[^]'
    return other.replace(/[.*+?^${}()|[\]\\/]/, '\\$&')
  })
  return new RegExp(`^${parts.join('')}$`)
}
