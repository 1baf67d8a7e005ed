import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { stepAct } from '../../../test/conformance/walk.ts'
import { config } from './config.ts'
import { openHost } from './host.ts'
import { imageOf } from './look.ts'

const signal = new AbortController().signal
const folders: string[] = []
afterEach(async () => {
  for (const dir of folders.splice(0)) await rm(dir, { recursive: true })
})

/** A host whose docker prints, at each call in turn, what is given; the last for ever. */
async function printing(...outputs: readonly string[]) {
  const dir = await mkdtemp(join(tmpdir(), 'backout-printed-'))
  folders.push(dir)
  const docker = join(dir, 'docker')
  for (const [i, output] of outputs.entries()) await writeFile(join(dir, `${i + 1}`), output)
  const script = `#!/bin/sh\ncd ${dir}; echo >>calls; n=$(wc -l <calls); [ -e "$n" ] || n=${outputs.length}; cat "$n"\n`
  await writeFile(docker, script)
  await chmod(docker, 0o755)
  const { vault, backups } = stepAct()
  const context = { environment: 'test', component: 'web', baseDir: '/', stateDir: '/nowhere', vault, backups }
  return openHost(config.parse({ directory: '/srv/shop', docker: [docker] }), context)
}

const SHOP = '"sha256:1"\t["shop@sha256:2"]\n'

describe('C6: what docker printed', () => {
  it('is asked for once more where it ended well without a word', async () => {
    expect(await imageOf(await printing('', SHOP), 'shop:v1', signal)).toEqual({
      id: 'sha256:1',
      digests: ['shop@sha256:2'],
    })
  })

  it('may know no digest of an image that was never pushed', async () => {
    expect(await imageOf(await printing('"sha256:1"\tnull\n'), 'shop:v1', signal)).toEqual({
      id: 'sha256:1',
      digests: [],
    })
  })

  it.each([
    ['nothing', '', 'it printed nothing'],
    ['something else', 'welcome to web-1\n', 'it printed 17 characters that are something else'],
    ['a part', '"sha256:1"\n', 'it printed 11 characters that are something else'],
  ])('is an error that says what to do where it goes on being %s', async (_, output, cause) => {
    await expect(imageOf(await printing(output), 'shop:v1', signal)).rejects.toMatchObject({
      code: 'compose_output',
      message: 'local:/srv/shop: docker image inspect shop:v1 ended well, and did not print what it was asked for',
      why: cause,
      next: expect.stringContaining('run the command by hand there') as string,
    })
  })
})
