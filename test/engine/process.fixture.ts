import { appendFileSync } from 'node:fs'
import { Runtime } from '../../src/engine/runtime.ts'
import { lockOwner } from '../../src/engine/sqlite/lock.ts'
import { sqliteStore } from '../../src/engine/sqlite/store.ts'

/** Another process on the same home: `node process.fixture.ts HOME own|write|look|steps FILE`. */
const [home = '', what = '', file = ''] = process.argv.slice(2)
const key = Buffer.alloc(32, 7)
const say = (text: string) => process.stdout.write(`${text}\n`)

if (what === 'look') {
  say('looking')
  for (;;) lockOwner(`${home}/locks`, 'env')
}

const engine = new Runtime(sqliteStore({ home, key }), { pollMs: 5 })
await engine.open({ worker: true })

if (what === 'own') {
  engine.define('w', 1, async ctx => (await ctx.wait('go', ['go'], Infinity, 'waiting'))?.value ?? null)
  await engine.start('w', 'r1', null, { exclusive: 'env' })
  await engine.settled('r1')
  say('owns it')
  setInterval(() => {}, 1000)
}

if (what === 'write') {
  for (let i = 0; i < 100; i++) await engine.record('wrote', { pid: process.pid, i })
  await engine.close()
  say('wrote')
}

/** Intent, effect, result, over and over, until the journal is full. */
if (what === 'steps') {
  engine.define('w', 1, async ctx => {
    for (let i = 0; i < 1000; i++) {
      await ctx.run(`${i}?`, async () => 'x'.repeat(2000))
      await ctx.run(`${i}`, async act => {
        act.guard()
        appendFileSync(file, `${i}\n`)
        return null
      })
    }
    return null
  })
  await engine.start('w', 'r1', null, { exclusive: 'env' })
  await engine.settled('r1').then(
    run => say(run.state),
    (error: unknown) => say(`${(error as { code: string }).code} ${String((error as { why?: string }).why)}`),
  )
  process.exit(0)
}
