import { systemClock } from '../core/clock.ts'
import { alone } from './alone.ts'
import { Releases } from './releases.ts'

/** Another process on the same ledger: `node alone.fixture.ts FOLDER hold|say NAME`. */
const [folder = '', what = '', name = ''] = process.argv.slice(2)

if (what === 'hold') {
  await alone(folder, async () => {
    process.stdout.write('holds it\n')
    await new Promise(resolve => setTimeout(resolve, 60_000))
  })
}

if (what === 'say') {
  const releases = new Releases(folder, 'production', systemClock, Buffer.alloc(32, 7))
  for (let i = 0; i < 10; i++) {
    await releases.mark('v1', 'captured', `${name} ${i}`)
    const id = `${name}-${i}`
    const none = { migratedAt: null, endedAt: null, undoneAt: null }
    await releases.keepUpgrade({ id, from: 'v1', to: 'v2', begunAt: '2026-03-02T00:00:00.000Z', ...none })
  }
}
