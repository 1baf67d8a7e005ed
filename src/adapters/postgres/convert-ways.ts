/** How values of one type are said in another, and when nothing of them is lost by that. */
interface Way {
  readonly from: readonly string[]
  readonly to: readonly string[]
  /** `v`: the value; `to`: the type, with its length or precision. */
  readonly value: (v: string, to: string) => string
  /** Left out: always. Never fails, whatever the value is. */
  readonly fits?: (v: string) => string
}

const [DATE, TIMESTAMP] = [['date'], ['timestamp without time zone']]
const WHOLE = ['smallint', 'integer', 'bigint']
const cast = (v: string, to: string) => `CAST(${v} AS ${to})`

/** Range of the normal numbers of a `real`: others are rounded, or refused. */
const REAL = ['1.17549435e-38', '3.40282346e+38']
/** The last day that a timestamp can have. */
const LAST_DAY = `'294276-12-31'::date`

const WAYS: readonly Way[] = [
  {
    from: TIMESTAMP,
    to: DATE,
    value: cast,
    fits: v => `(${v} IS NULL OR NOT isfinite(${v}) OR ${v} = date_trunc('day', ${v}))`,
  },
  {
    from: DATE,
    to: TIMESTAMP,
    value: cast,
    fits: v => `(${v} IS NULL OR NOT isfinite(${v}) OR ${v} <= ${LAST_DAY})`,
  },
  { from: ['real'], to: ['double precision'], value: cast },
  {
    from: ['double precision'],
    to: ['real'],
    value: cast,
    fits: v => `(CASE WHEN ${v} IS NULL OR ${v} IN (0, 'NaN', 'Infinity', '-Infinity') THEN true
      WHEN abs(${v}) BETWEEN ${REAL.join(' AND ')} THEN CAST(CAST(${v} AS real) AS double precision) = ${v} ELSE false END)`,
  },
  { from: ['boolean'], to: WHOLE, value: (v, to) => cast(cast(v, 'integer'), to) },
  { from: WHOLE, to: ['boolean'], value: v => `(${v} = 1)`, fits: v => `(${v} IS NULL OR ${v} IN (0, 1))` },
  {
    from: ['numeric'],
    to: ['money'],
    value: cast,
    fits: v => `(CASE WHEN ${v} IS NULL THEN true WHEN ${v} = 'NaN' OR abs(${v}) >= 90000000000000000 THEN false
      ELSE CAST(CAST(${v} AS money) AS numeric) = ${v} END)`,
  },
]

/** null: none of these. `was`, `is`: the types without length and precision. */
export function wayFor(was: string, is: string): Way | null {
  return WAYS.find(way => way.from.includes(was) && way.to.includes(is)) ?? null
}

/** Types whose text is said alike by every session of Backout. */
const TOLD = [
  ...WHOLE,
  'uuid',
  'json',
  'jsonb',
  'boolean',
  'numeric',
  'real',
  'double precision',
  'date',
  'interval',
  'timestamp without time zone',
  'time without time zone',
  'cidr',
  'macaddr',
]

/** The text that a value had before its column became one of this type; null: nobody can tell. */
export function asText(v: string, was: string): string | null {
  // A host goes without the length of its net.
  if (was === 'inet') return `abbrev(${v})`
  const told =
    TOLD.includes(was) || TOLD.includes(was.replace(/\[\]$/, '')) || /^(text|character varying|bpchar)\[\]$/.test(was)
  return told ? `${v}::text` : null
}
