import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { MAIN } from '../support/shipped.ts'
import { makeToy, type Toy } from '../support/toy.ts'

let toy: Toy
beforeEach(async () => void (toy = await makeToy()))
afterEach(() => toy[Symbol.asyncDispose]())

it('in a folder that was deleted a command says so and what to do, and goes by the whole path of a configuration', () => {
  const there = (...argv: string[]) => {
    const said = spawnSync(
      'sh',
      [
        '-c',
        'mkdir "$1" && cd "$1" && rmdir "$1"; shift; exec "$@"',
        'sh',
        join(toy.folder, 'gone'),
        process.execPath,
        '--disable-warning=ExperimentalWarning',
        MAIN,
        ...argv,
      ],
      {
        env: { ...process.env, BACKOUT_KEYS: join(toy.folder, 'keys'), BACKOUT_HOME: '', BACKOUT_CONFIG: '' },
        encoding: 'utf8',
      },
    )
    return { code: said.status, stdout: said.stdout, stderr: said.stderr }
  }
  for (const argv of [['status'], ['doctor'], ['init'], ['--config', 'backout.yaml', 'status']]) {
    const { code, stderr } = there(...argv)
    expect({ argv, code, stderr }).toMatchObject({
      argv,
      code: 2,
      stderr: expect.stringMatching(/\[folder_gone\][^]*next: +cd to one/),
    })
  }
  expect(there('--config', join(toy.folder, 'backout.yaml'), 'status')).toMatchObject({ code: 0, stderr: '' })
})
