/** What lies in no table and has a number of its own, which rows refer to. */
export interface LargeObject {
  readonly id: number
  /** Another one whenever the content is. */
  readonly digest: string
}

/** How they are called where tables are. */
export const OBJECTS = '(large objects)'

/** The next ones of a database, in order of their numbers, behind this one. None: there are no more. */
export type ObjectsAfter = (id: number) => Promise<LargeObject[]>

/** All of these databases, number by number, with what each has under it; null: nothing. Memory stays flat. */
export async function* sideBySide(
  sides: readonly ObjectsAfter[],
): AsyncGenerator<{ id: number; digests: (string | null)[] }> {
  const streams = sides.map(all)
  const heads = await Promise.all(streams.map(next))
  for (;;) {
    const id = Math.min(...heads.map(head => head?.id ?? Infinity))
    if (id === Infinity) return
    const digests: (string | null)[] = []
    for (const [i, stream] of streams.entries()) {
      const head = heads[i]
      digests.push(head?.id === id ? head.digest : null)
      if (head?.id === id) heads[i] = await next(stream)
    }
    yield { id, digests }
  }
}

async function* all(after: ObjectsAfter): AsyncGenerator<LargeObject> {
  let id = -1
  for (;;) {
    const some = await after(id)
    yield* some
    const last = some.at(-1)
    if (last === undefined) return
    id = last.id
  }
}

async function next(stream: AsyncGenerator<LargeObject>): Promise<LargeObject | null> {
  const step = await stream.next()
  return step.done === true ? null : step.value
}
