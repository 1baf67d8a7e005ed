/** Every request is a connection of its own: a few at a time save most of the waiting. */
const AT_ONCE = 5

/** Does the work for every item, some at a time; the answers are in the order of the items. */
export async function several<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const out: R[] = []
  const queue = items.entries()
  const lane = async (): Promise<void> => {
    for (const [i, item] of queue) out[i] = await work(item)
  }
  await Promise.all(Array.from({ length: AT_ONCE }, lane))
  return out
}
