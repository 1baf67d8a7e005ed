import { createHmac, createSecretKey, type KeyObject, timingSafeEqual } from 'node:crypto'
import type { Event, Head } from '../core/engine.ts'
import { canonicalJson } from '../core/json.ts'

/** The head of a journal without events. */
export const EMPTY: Head = { length: 0, mac: '0'.repeat(64) }

/** The key of a chain as `macOf` takes it. Made once: node takes ten times as long for an HMAC with bytes as the key. */
export function chainKey(key: Uint8Array): KeyObject {
  return createSecretKey(key)
}

/**
 * HMAC-SHA-256 over the event and the mac of the one before it, so that none can be changed, removed or moved unseen.
 * `data` is the canonical text of the event's data, where the caller has it already.
 */
export function macOf(
  key: KeyObject,
  before: string,
  event: Omit<Event, 'mac'>,
  data = canonicalJson(event.data),
): string {
  const { seq, run, at, type } = event
  const head = JSON.stringify([seq, run, at, type])
  return createHmac('sha256', key)
    .update(`${before}${head.slice(0, -1)},${data}]`)
    .digest('hex')
}

export interface ChainBreak {
  readonly seq: number
  readonly what: string
}

/** Walks the whole chain. Null where it is intact up to its end. */
export function firstBreak(key: Uint8Array, events: Iterable<Event>): ChainBreak | null {
  const secret = chainKey(key)
  let head = EMPTY
  for (const event of events) {
    if (event.seq !== head.length + 1) {
      return {
        seq: head.length + 1,
        what: `event ${head.length + 1} is missing: after ${head.length} comes ${event.seq}`,
      }
    }
    const mac = macOf(secret, head.mac, event)
    if (!timingSafeEqual(Buffer.from(mac), Buffer.from(event.mac.padEnd(mac.length).slice(0, mac.length)))) {
      return { seq: event.seq, what: `event ${event.seq} (${event.type}, ${event.at}) was altered or moved` }
    }
    head = { length: event.seq, mac: event.mac }
  }
  return null
}
