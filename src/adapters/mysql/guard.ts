/** Set in the session that carries, and in no other. */
export const CARRIES = '@backout_carries'

const HEAD = `IF ${CARRIES} IS NULL THEN `
const TAIL = '\n; END IF'

/** The body of a trigger that does not fire for that session. For all others it does what it did. */
export function guarded(body: string): string {
  return `${HEAD}${body}${TAIL}`
}

/** A trigger, or its body alone, as it was before it was guarded. */
export function unguarded(sql: string): string {
  const at = sql.indexOf(HEAD)
  return at < 0 || !sql.endsWith(TAIL) ? sql : sql.slice(0, at) + sql.slice(at + HEAD.length, -TAIL.length)
}
