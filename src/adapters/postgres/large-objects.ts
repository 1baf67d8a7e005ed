import type { ImageName, LargeObjects } from '../../data/engine.ts'
import type { LargeObject } from '../../data/objects.ts'
import { type Session, textOf } from './session.ts'

const AT_ONCE = 1_000
/** Bytes. */
const DIGESTED = 4 * 1024 * 1024
const COPIED = 1024 * 1024

const NEXT = `WITH batch AS (SELECT oid FROM pg_catalog.pg_largeobject_metadata WHERE oid::int8 > $1 ORDER BY oid LIMIT ${AT_ONCE}),
    sized AS MATERIALIZED (SELECT oid, lo_lseek64(lo_open(oid, x'40000'::int), 0, 2) AS bytes FROM batch)
  SELECT oid::int8 AS id, bytes || ':' || md5(string_agg(md5(lo_get(oid, at, ${DIGESTED})), '' ORDER BY at)) AS digest
  FROM sized, generate_series(0, greatest(bytes - 1, 0), ${DIGESTED}) AS at GROUP BY oid, bytes ORDER BY oid::int8`

/** Behind this number. In a transaction, what was opened is closed with the savepoint, or a million would stay open. */
export async function objectsAfter(session: Session, id: number): Promise<LargeObject[]> {
  if ((await session.query('SELECT FROM pg_catalog.pg_largeobject_metadata LIMIT 1')).length === 0) return []
  await session.query('SAVEPOINT objects')
  const rows = await session.query(NEXT, [id])
  await session.query('ROLLBACK TO objects; RELEASE objects')
  return rows.map(row => ({ id: Number(row['id']), digest: String(row['digest']) }))
}

/** Those of the images, and of ours, for the merge. */
export function largeObjects(ours: Session, beside: Readonly<Record<string, Session | null>>): LargeObjects {
  const from = (image: ImageName): Session => {
    const session = image === 'ours' ? ours : beside[image]
    if (session == null) throw new Error(`there is no ${image}`)
    return session
  }
  return {
    has: image => beside[image] != null,
    after: (image, id) =>
      image === 'ours' ? inTransaction(ours, () => objectsAfter(ours, id)) : objectsAfter(from(image), id),
    content: id => contentOf(from('theirs'), id),
    put: id => put(ours, from('theirs'), id),
  }
}

/** Savepoints live in one. */
async function inTransaction<T>(session: Session, work: () => Promise<T>): Promise<T> {
  await session.query('BEGIN READ ONLY')
  try {
    return await work()
  } finally {
    await session.query('ROLLBACK')
  }
}

/** Base64, piece by piece. An empty one has one piece. */
async function* contentOf(session: Session, id: number): AsyncGenerator<string> {
  for (let at = 0; ; at += COPIED) {
    const sql = `SELECT octet_length(v) AS bytes, translate(encode(v, 'base64'), E'\\n', '') AS v FROM (SELECT lo_get($1::oid, $2, ${COPIED}) AS v) AS x`
    const [row] = await session.query(sql, [id, at])
    const bytes = Number(row?.['bytes'])
    if (bytes > 0 || at === 0) yield textOf(row, 'v') ?? ''
    if (bytes < COPIED) return
  }
}

const WHOSE = `SELECT format('%I', pg_get_userbyid(m.lomowner)) AS owner, 
    (SELECT json_agg(json_build_object('to', CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE format('%I', pg_get_userbyid(a.grantee)) END,
       'may', a.privilege_type, 'pass', a.is_grantable))::text FROM aclexplode(m.lomacl) AS a WHERE a.grantee <> m.lomowner) AS grants
  FROM pg_catalog.pg_largeobject_metadata m WHERE m.oid = $1::oid`

/** Makes ours have what theirs has under this number: content, owner and rights. */
async function put(ours: Session, theirs: Session, id: number): Promise<void> {
  const there = await ours.query('SELECT FROM pg_catalog.pg_largeobject_metadata WHERE oid = $1::oid', [id])
  if (there.length === 0) await ours.query('SELECT lo_create($1::oid)', [id])
  else await ours.query(`SELECT lo_truncate64(lo_open($1::oid, x'20000'::int), 0)`, [id])
  let at = 0
  for await (const piece of contentOf(theirs, id)) {
    await ours.query(`SELECT lo_put($1::oid, $2, decode($3, 'base64'))`, [id, at, piece])
    at += COPIED
  }
  if (there.length === 0) await asTheirs(ours, theirs, id)
}

async function asTheirs(ours: Session, theirs: Session, id: number): Promise<void> {
  const [row] = await theirs.query(WHOSE, [id])
  const grants = JSON.parse(textOf(row, 'grants') ?? '[]') as { to: string; may: string; pass: boolean }[]
  for (const { to, may, pass } of grants) {
    await ours.query(`GRANT ${may} ON LARGE OBJECT ${id} TO ${to}${pass ? ' WITH GRANT OPTION' : ''}`)
  }
  await ours.query(`ALTER LARGE OBJECT ${id} OWNER TO ${String(row?.['owner'])}`)
}
