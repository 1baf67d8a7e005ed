import { createHmac, timingSafeEqual } from 'node:crypto'
import type { Event, Head } from '../core/engine.ts'
import { canonical } from '../core/json.ts'

/** The head of a journal without events. */
export const EMPTY: Head = { length: 0, mac: '0'.repeat(64) }

/** HMAC-SHA-256 over the event and the mac of the one before it, so that none can be changed, removed or moved unseen. */
export function macOf(key: Uint8Array, before: string, event: Omit<Event, 'mac'>): string {
  const { seq, run, at, type, data } = event
  return createHmac('sha256', key)
    .update(before)
    .update(canonical([seq, run, at, type, data]))
    .digest('hex')
}

export interface ChainBreak {
  readonly seq: number
  readonly what: string
}

/** Walks the whole chain. Null where it is intact up to its end. */
export function firstBreak(key: Uint8Array, events: Iterable<Event>): ChainBreak | null {
  let head = EMPTY
  for (const event of events) {
    if (event.seq !== head.length + 1) {
      return {
        seq: head.length + 1,
        what: `event ${head.length + 1} is missing: after ${head.length} comes ${event.seq}`,
      }
    }
    const mac = macOf(key, head.mac, event)
    if (!timingSafeEqual(Buffer.from(mac), Buffer.from(event.mac.padEnd(mac.length).slice(0, mac.length)))) {
      return { seq: event.seq, what: `event ${event.seq} (${event.type}, ${event.at}) was altered or moved` }
    }
    head = { length: event.seq, mac: event.mac }
  }
  return null
}
