import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { MAIN } from '../support/shipped.ts'

const ROOT = join(import.meta.dirname, '..', '..')

/** Why the page cannot be tried on this machine, or null. */
function noSqlite(): string | null {
  try {
    execFileSync('sqlite3', ['--version'], { stdio: 'pipe' })
    return null
  } catch {
    if (process.env['CI'] === 'true') throw new Error('sqlite3 is not installed, and CI must not skip what needs it')
    return 'sqlite3 is not installed'
  }
}

const missing = noSqlite()

it.skipIf(missing !== null)(
  `docs/databases.md: the rehearsal goes as it stands there${missing === null ? '' : ` (${missing})`}`,
  async () => {
    const home = await mkdtemp(join(tmpdir(), 'backout-rehearsal-'))
    const page = await readFile(join(ROOT, 'docs', 'databases.md'), 'utf8')
    const shown = [...page.matchAll(/```sh\n([^]*?)```/g)].map(m => m[1] ?? '').join('')
    const commands = shown
      .replaceAll('/tmp/rehearsal', join(home, 'rehearsal'))
      .replace(/^backout run\b/gm, '$& --yes --loss-window 1h')
    const line = `'${process.execPath}' --disable-warning=ExperimentalWarning '${MAIN}'`
    const script = `backout() { ${line} "$@"; echo "[$* $?]"; }\n${commands}`
    const child = spawn('sh', ['-c', script], {
      cwd: home,
      env: { ...process.env, BACKOUT_KEYS: join(home, 'keys'), BACKOUT_HOME: '', BACKOUT_CONFIG: '' },
    })
    let said = ''
    let complained = ''
    child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()))
    child.stderr.on('data', (chunk: Buffer) => (complained += chunk.toString()))
    await once(child, 'close')
    await rm(home, { recursive: true, force: true })
    const ends = [...said.matchAll(/^\[(.+ \d+)\]$/gm)].map(m => m[1])
    expect(ends, complained).toEqual([
      'doctor 0',
      'capture v1 --known-good 0',
      'upgrade begin v2 0',
      'upgrade migrated v2 0',
      'upgrade end v2 0',
      'plan 0',
      'run --yes --loss-window 1h 0',
      'db check --rows 5 10',
      'upgrade begin v3 0',
      'upgrade migrated v3 0',
      'upgrade end v3 0',
      'plan 0',
      'run --yes --loss-window 1h 0',
      'data status 5',
      'data apply --yes --settle words.yaml 0',
      'db check 10',
    ])
    const timeless = (text: string) => text.replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME')
    for (const [, text = ''] of page.matchAll(/```text\n([^]*?)```/g)) expect(timeless(said)).toContain(timeless(text))
    expect(said).toContain('No down-script is there for 003_cents')
    expect(said.trimEnd().split('\n').slice(-5)).toEqual(['1|10|ann', '2|25|Bob', '3|7|cid', '4|40|dan', '5|12.5|eve'])
  },
  120_000,
)
