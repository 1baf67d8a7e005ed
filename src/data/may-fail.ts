/** Functions that answer for every value that there is. */
const NEVER =
  'lower upper btrim ltrim rtrim trim length char_length character_length octet_length coalesce ifnull nullif concat md5 date_trunc to_tsvector setweight'
/** Words that brackets follow, and that are no functions. */
const WORDS = 'as and or not in is where when then else case include with btree hash gin gist spgist brin on using key'
const SAFE = new Set(`${NEVER} ${WORDS}`.split(' '))

/** Casts to these take every value. */
const TEXTS = /^(?:text|character varying(?! *\()|varchar(?! *\()|regconfig)\b/i

/**
 * Whether working out an expression of an index or of a computed column may fail for some row, so that the row is refused:
 * `100 / total`, a cast to a number, a function that nobody knows here.
 */
export function mayFail(sql: string): boolean {
  const plain = sql.replaceAll(/'(?:[^']|'')*'/g, "''").replaceAll(/"(?:[^"]|"")*"|`[^`]*`/g, 'x')
  // A column by itself, its direction, its operator class, and what a partial index says of it.
  if (/[/%*+^~]|-(?!>)|#>/.test(plain)) return true
  if ([...plain.matchAll(/::\s*/g)].some(({ index, 0: mark }) => !TEXTS.test(plain.slice(index + mark.length))))
    return true
  if (/\bcast\s*\(/i.test(plain)) return true
  return [...plain.matchAll(/([\p{L}_][\p{L}\p{N}_$.]*)\s*\((?!\d+\))/gu)].some(
    ([, word = '']) => !SAFE.has(word.toLowerCase()),
  )
}
