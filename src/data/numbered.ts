/** A query of which the rows have numbers from 1 on, as `n`, in the order of those columns; without them it stays as it is. */
export function numbered(select: string, order: readonly string[] | undefined): string {
  if (order === undefined) return select
  return `SELECT row_number() OVER (ORDER BY ${order.join(', ')}) AS n, d.* FROM (${select}) AS d`
}
