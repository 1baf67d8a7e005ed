import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { stepAct } from '../../../test/conformance/walk.ts'
import { config } from './config.ts'
import { openHost } from './host.ts'
import { look } from './look.ts'

const DEPLOYS = [
  'compose up -d',
  'compose up -dV',
  'compose up -Vd',
  'compose up -t 5 -d web',
  'compose up --build -d',
  'compose up --wait',
  'compose up --wait --pull always',
  'compose up --detach=true',
  'compose --profile x up -d',
  'compose start web',
  'compose stop web',
  'compose pull',
]
/** They stay for as long as somebody looks at them, and change nothing. */
const OTHERS = ['compose up', 'compose up -V --build', 'compose logs -f', 'compose ps -a']

describe('C2: Compose at work on the project', () => {
  let dir: string
  const started: ChildProcess[] = []
  beforeEach(async () => void (dir = await mkdtemp(join(tmpdir(), 'backout-compose-'))))
  afterEach(async () => {
    const ended = started.filter(one => one.exitCode === null).map(one => once(one, 'exit'))
    for (const one of started.splice(0)) one.kill('SIGKILL')
    await Promise.all(ended)
    await rm(dir, { recursive: true, force: true })
  })

  it('is seen whatever the deployment is called with, and whoever only looks is none', async () => {
    const docker = join(dir, 'engine')
    await writeFile(docker, '#!/bin/sh\n[ "$1" != info ] || echo engine1\n', { mode: 0o755 })
    const { vault, backups } = stepAct()
    const ctx = { environment: 't', component: 'web', baseDir: '/', stateDir: '/', vault, backups }
    const host = openHost(config.parse({ directory: dir, docker: [docker] }), ctx)
    for (const words of [...DEPLOYS, ...OTHERS]) {
      const one = spawn('sh', ['-c', 'read line', ...words.split(' ')], { argv0: 'docker', cwd: dir, stdio: 'pipe' })
      started.push(one)
      await once(one, 'spawn')
    }
    const { busy } = await look(host, new AbortController().signal)
    const seen = busy.map(one => one.words.slice(one.words.indexOf('compose ')))
    expect(seen.sort()).toEqual([...DEPLOYS].sort())
  })

  it('is seen where the folder in the settings is a link to the one that the deployment is in', async () => {
    const docker = join(dir, 'engine')
    await writeFile(docker, '#!/bin/sh\n[ "$1" != info ] || echo engine1\n', { mode: 0o755 })
    const current = join(dir, 'current')
    await mkdir(join(dir, 'r1'))
    await symlink('r1', current)
    const { vault, backups } = stepAct()
    const ctx = { environment: 't', component: 'web', baseDir: '/', stateDir: '/', vault, backups }
    const host = openHost(config.parse({ directory: current, docker: [docker] }), ctx)
    const words = ['-c', 'read line', 'compose', 'up', '-d']
    const one = spawn('sh', words, { argv0: 'docker', cwd: current, stdio: 'pipe' })
    started.push(one)
    await once(one, 'spawn')
    const { busy } = await look(host, new AbortController().signal)
    expect(busy.map(found => found.pid)).toEqual([String(one.pid)])
  })
})
