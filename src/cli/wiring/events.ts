import type { Engine, Event } from '../../core/engine.ts'

/** How many runs are looked back over at most: each is read with its plan. */
export const LOOK_BACK = 100

/** What the journal has of a run, or of all ('*'), in its order. */
export async function eventsOf(engine: Engine, run: string, type?: string): Promise<Event[]> {
  const all: Event[] = []
  for await (const event of engine.events(run, type === undefined ? {} : { type })) all.push(event)
  return all
}
