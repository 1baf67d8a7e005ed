import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'

const ROOT = join(import.meta.dirname, '..', '..')

/** The blocks of commands of README.md that hold a text. */
async function block(holding: string): Promise<string> {
  const text = await readFile(join(ROOT, 'README.md'), 'utf8')
  const found = [...text.matchAll(/```sh\n([^]*?)```/g)].map(m => m[1] ?? '').find(b => b.includes(holding))
  if (found === undefined) throw new Error(`README.md has no commands with ${holding}`)
  return found
}

it('README: the five minutes with something of your own go as they stand there', async () => {
  const home = await mkdtemp(join(tmpdir(), 'backout-readme-'))
  const line = `'${process.execPath}' --disable-warning=ExperimentalWarning '${join(ROOT, 'src', 'main.ts')}'`
  const first = (await block('mkdir -p /tmp/greeter')).replaceAll('/tmp/greeter', join(home, 'greeter'))
  const then = await block('backout resume')
  // Nobody is there to type the name or to press Ctrl-C: it is paused from another process instead.
  const script = `backout() { ${line} "$@"; echo "[$1 $?]"; }
${first.replace(/^backout run .*$/m, 'backout run --yes &\nuntil backout pause | grep pauses; do sleep 0.2; done\nwait')}
${then.replace(/^backout revert .*$/m, 'backout revert --yes')}
backout skip well --reason 'v2 is wanted'
backout resume
cat version`
  const child = spawn('sh', ['-c', script], {
    cwd: home,
    env: { ...process.env, BACKOUT_KEYS: join(home, 'keys'), BACKOUT_HOME: '', BACKOUT_CONFIG: '' },
  })
  let said = ''
  child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()))
  await once(child, 'close')
  await rm(home, { recursive: true, force: true })
  const ends = [...said.matchAll(/^\[(\w+) (\d+)\]$/gm)].map(m => `${m[1]} ${m[2]}`)
  expect(ends).toEqual([
    'doctor 0',
    'capture 0',
    'gates 10',
    'plan 0',
    'run 6',
    'status 0',
    'resume 0',
    'report 0',
    'revert 5',
    'skip 0',
    'resume 0',
  ])
  expect(said).toContain('greeter is back on v1, verified.')
  expect(said.trimEnd().split('\n').at(-1)).toBe('v2')
}, 120_000)
