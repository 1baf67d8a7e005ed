import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe } from 'vitest'
import { conformance } from '../../../test/conformance/suite.ts'
import { stepAct } from '../../../test/conformance/walk.ts'
import { COMPOSE, noCompose } from '../../../test/support/compose.ts'
import { type Dockerd, dockerd, noDockerd } from '../../../test/support/dockerd.ts'
import { makeImage, noImages } from '../../../test/support/shop-images.ts'
import type { Target } from '../../core/contract.ts'
import { compose } from './index.ts'
import type { ComposePin } from './pin.ts'

const why = noDockerd() ?? noImages() ?? noCompose()
const FILE = `services:
  web:
    image: shop:\${TAG}
    network_mode: none
    stop_signal: KILL
    environment: { TOKEN: '\${API_TOKEN}' }
`

describe.skipIf(why !== null)(`C6: compose on a real engine${why === null ? '' : ` (skipped: ${why})`}`, () => {
  let engine: Dockerd
  beforeAll(async () => {
    engine = await dockerd()
    for (const version of ['v1', 'v2']) await makeImage(engine, `shop:${version}`, { version })
  })
  afterAll(() => engine?.dispose())

  for (const rung of ['up', 'recreate']) {
    conformance(`compose ${rung}`, {
      adapter: compose,
      rungs: [rung],
      make: async () => {
        const dir = await mkdtemp(join(tmpdir(), 'shop-'))
        const { vault, backups } = stepAct()
        const ctx = { environment: 'test', component: 'web', baseDir: '/', stateDir: '/', vault, backups }
        const project = basename(dir).toLowerCase()
        const words = ['env', `DOCKER_HOST=${engine.host}`]
        const open = (name = project): Promise<Target<ComposePin>> =>
          compose.open(
            compose.config.parse({
              directory: dir,
              project: name,
              docker: [...words, 'docker'],
              compose: [...words, COMPOSE],
              limits: { settle: '1s' },
            }),
            ctx,
          )
        const up = async (tag: string) => {
          await writeFile(join(dir, '.env'), `TAG=${tag}\nAPI_TOKEN=geheim-123\n`)
          const argv = ['-p', project, 'up', '-d']
          await promisify(execFile)(COMPOSE, argv, {
            cwd: dir,
            env: { ...process.env, DOCKER_HOST: engine.host },
          })
        }
        await writeFile(join(dir, 'compose.yaml'), FILE)
        await up('v1')
        return {
          open: () => open(),
          openOther: () => open('other'),
          upgrade: () => up('v2'),
          serves: async () => {
            const id = await engine.docker('ps', '-q', '--filter', `label=com.docker.compose.project=${project}`)
            const said = await engine.docker('exec', id, 'cat', '/version')
            return said === 'v1' ? 'A' : said === 'v2' ? 'B' : 'other'
          },
          secrets: ['geheim-123'],
          dispose: () => rm(dir, { recursive: true, force: true }),
        }
      },
    })
  }
})
