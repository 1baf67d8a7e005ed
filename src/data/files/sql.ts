import type { WayBack } from '../migration-files.ts'
import type { Found } from './layouts.ts'

/** A way back that is none. */
export function none(file: string, why: string, empty = false): WayBack {
  return { is: 'none', file, why, empty }
}

/** The way back is a file of its own. */
export async function separate(found: Found, file: string): Promise<WayBack> {
  const [folder] = file.split('/')
  const there = found.names.includes(file) || (file.includes('/') && found.names.includes(folder ?? ''))
  const sql = there ? await found.read(file) : ''
  if (sql !== '') return fromSql(file, sql)
  return found.names.includes(file) ? none(file, 'undoes nothing', true) : none(file, 'has no way back')
}

/** The way back is the part of the file after a mark. */
export async function section(found: Found, mark: RegExp): Promise<WayBack> {
  const text = await found.read(found.name)
  const at = mark.exec(text)
  return at === null ? none(found.name, 'has no way back') : fromSql(found.name, text.slice(at.index + at[0].length))
}

function fromSql(file: string, sql: string): WayBack {
  const bare = sql.replaceAll(/\/\*(?!!)[\s\S]*?\*\//g, '').replaceAll(/--[^\n]*/g, '')
  return /[^\s;]/.test(bare) ? { is: 'sql', file, sql } : none(file, 'undoes nothing', true)
}
