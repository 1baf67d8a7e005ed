import { Client } from './client.ts'
import type { FromLoad, LoadOptions, ToLoad } from './messages.ts'
import { Tally } from './tally.ts'
import { type PriceList, visit } from './user.ts'

const options = JSON.parse(process.argv[2] ?? '{}') as LoadOptions
const stop = new AbortController()
const tally = new Tally(options.period ?? 'before')
const client = new Client(options.url, tally, stop.signal)
// Who started this is gone: so are its users.
process.on('disconnect', () => process.exit())
// A person's Ctrl-C is for the one who started this.
process.on('SIGINT', () => undefined)
process.on('message', (message: ToLoad) => void hear(message))

const crowd = main()

async function main(): Promise<void> {
  const list = await client.ask({ step: 'browse', method: 'GET', path: '/products' })
  if (list === null) throw new Error(`${options.url} gives no price list`)
  const prices = list.json as unknown as PriceList
  const random = randomOf(options.seed ?? 1)
  const { coupon = 'LAUNCH40', thinkMs = 150, users = 8 } = options
  await Promise.all(
    Array.from({ length: users }, async () => {
      while (!stop.signal.aborted) await visit({ client, tally, prices, coupon, thinkMs, stop: stop.signal, random })
    }),
  )
}

async function hear(message: ToLoad): Promise<void> {
  if (message.ask === 'mark') tally.mark(message.name)
  if (message.ask !== 'stop') return say(message.n, message.ask === 'snapshot' ? tally.snapshot() : null)
  stop.abort()
  await crowd
  client.close()
  say(message.n, tally.summary(), () => process.disconnect())
}

function say(n: number, answer: FromLoad['answer'], then: () => void = () => undefined): void {
  process.send?.({ n, answer } satisfies FromLoad, then)
}

/** A small generator (mulberry32), so that equal seeds make equal choices. */
function randomOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}
