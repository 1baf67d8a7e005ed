import type { Discount } from '../world/database.ts'

/** The same discounts of the same orders, in any order. */
export function same(a: readonly Discount[], b: readonly Discount[]): boolean {
  const text = (all: readonly Discount[]) =>
    JSON.stringify(all.map(({ id, discount }) => [id, discount]).toSorted((x, y) => Number(x[0]) - Number(y[0])))
  return text(a) === text(b)
}
