import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, describe, expect, it } from 'vitest'
import { until } from '../support/rollback.ts'
import { makeToy, type Toy } from '../support/toy.ts'

let toy: Toy
afterEach(() => toy[Symbol.asyncDispose]())

async function changeConfig(): Promise<void> {
  await toy.write('backout.yaml', (await toy.read('backout.yaml')).replace('attempts: 2', 'attempts: 3'))
}

function signals(): number {
  const db = new DatabaseSync(join(toy.folder, '.backout', 'journal.db'), { readOnly: true })
  try {
    return (db.prepare('SELECT count(*) AS n FROM signals').get() as { n: number }).n
  } finally {
    db.close()
  }
}

describe('C16: backout.yaml was changed since the run began', () => {
  it('is refused before anything is journalled where this process would take the run over', async () => {
    toy = await makeToy()
    await toy.release('v0')
    expect((await toy.backout(['capture', 'v0', '--known-good'])).code).toBe(0)
    await toy.release('v1')
    expect((await toy.backout(['run', '--yes'])).code).toBe(5) // the gate wants v1
    await changeConfig()
    for (const command of ['resume', 'abort']) {
      const said = await toy.backout([command])
      expect(said).toMatchObject({ code: 3, stderr: expect.stringContaining('config_changed') })
    }
    expect(signals()).toBe(0)
    // Of a file that nobody has any more there is a copy, which the error names.
    const { stderr } = await toy.backout(['abort'])
    const copy = /^next: {2}put the file back as it was \((cp .*)\), then say it again$/m.exec(stderr)?.[1] ?? 'exit 1'
    execFileSync('sh', ['-c', copy])
    expect(await toy.read('backout.yaml.new')).toContain('attempts: 3')
    expect(await toy.backout(['abort'])).toMatchObject({ code: 7, stderr: '' })
  })

  it('does not keep anybody from aborting a run that a process is at work on', async () => {
    toy = await makeToy('policy: { watch: { gates: [well], for: 100s } }')
    expect((await toy.backout(['capture', 'v1', '--known-good'])).code).toBe(0)
    await toy.release('v2')
    const run = toy.backout(['run', '--yes'])
    await until(async () => (await toy.backout(['status'])).stdout.includes('watch'))
    await changeConfig()
    const abort = await toy.backout(['abort'])
    expect(abort).toMatchObject({ code: 7, stderr: '' })
    expect(abort.stdout).toContain('goes on with run')
    expect((await run).code).toBe(7)
  })
})
