import { execFile, spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { type Dockerd, ofOther } from './dockerd.ts'

/** The Compose that the tests call: docker-compose, that of BACKOUT_TEST_DOCKER, or the program that BACKOUT_TEST_COMPOSE names. */
export const COMPOSE = process.env['BACKOUT_TEST_COMPOSE'] ?? ofOther('docker-compose')

/** From version 2 on it is a plugin of docker itself. */
export function isPlugin(): boolean {
  return spawnSync(COMPOSE, ['docker-cli-plugin-metadata'], { stdio: 'ignore' }).status === 0
}

// Half of its start, and there are hundreds: docker-compose in Python loads setuptools only to find distutils in it, which
// Python has itself before 3.12.
if (pythonHasDistutils('/usr/lib')) process.env['SETUPTOOLS_USE_DISTUTILS'] ??= 'stdlib'

function pythonHasDistutils(folder: string): boolean {
  const pythons = existsSync(folder) ? readdirSync(folder).filter(name => /^python3\.\d+$/.test(name)) : []
  return pythons.length > 0 && pythons.every(name => existsSync(join(folder, name, 'distutils', 'spawn.py')))
}

/** Why there is no Compose on this machine, or null. Throws where CI is set: there a skipped test would hide a hole. */
export function noCompose(): string | null {
  if (COMPOSE.includes('/')) return existsSync(COMPOSE) ? null : `no ${COMPOSE}`
  const there = (process.env['PATH'] ?? '').split(':').some(folder => existsSync(join(folder, 'docker-compose')))
  if (there || process.env['CI'] !== 'true') return there ? null : 'no docker-compose'
  throw new Error('docker-compose is not installed, and CI must not skip the tests with it')
}

export interface Project {
  readonly dir: string
  readonly name: string
  /** Settings that lead there. */
  readonly settings: { readonly directory: string; readonly docker: string[]; readonly compose: string[] }
  write(path: string, content: string): Promise<void>
  /** As people do it: `docker-compose up -d`, with what the files say now. */
  up(...more: string[]): Promise<void>
  /** The same from a shell with variables of its own. */
  upWith(variables: Readonly<Record<string, string>>, ...more: string[]): Promise<void>
  /** What the containers of a service that run say of themselves, each once, sorted. */
  versions(service?: string): Promise<string>
  containers(service?: string): Promise<string[]>
  dispose(): Promise<void>
}

/** A folder with a project of Compose on an engine of the test's own. */
export async function project(engine: Dockerd, files: Readonly<Record<string, string>>): Promise<Project> {
  const dir = await mkdtemp(join(tmpdir(), 'shop-'))
  const name = basename(dir).toLowerCase()
  const calls = ['env', `DOCKER_HOST=${engine.host}`]
  const write = (path: string, content: string) => writeFile(join(dir, path), content)
  const containers = async (service?: string) => {
    const labels = [`project=${name}`, ...(service === undefined ? [] : [`service=${service}`])]
    const filters = labels.flatMap(label => ['--filter', `label=com.docker.compose.${label}`])
    return (await engine.docker('ps', '-q', ...filters)).split('\n').filter(Boolean)
  }
  const upWith = async (variables: Readonly<Record<string, string>>, ...more: string[]) => {
    const env = { ...process.env, ...variables, DOCKER_HOST: engine.host }
    await promisify(execFile)(COMPOSE, ['up', '-d', ...more], { cwd: dir, env })
  }
  for (const [path, content] of Object.entries(files)) await write(path, content)
  return {
    dir,
    name,
    settings: { directory: dir, docker: [...calls, ofOther('docker')], compose: [...calls, COMPOSE] },
    write,
    containers,
    up: (...more) => upWith({}, ...more),
    upWith,
    async versions(service) {
      const ids = await containers(service)
      const said = await Promise.all(ids.map(id => engine.docker('exec', id, 'cat', '/version').catch(() => 'gone')))
      return [...new Set(said)].sort().join(' ')
    },
    async dispose() {
      const ids = await engine.docker('ps', '-aq', '--filter', `label=com.docker.compose.project=${name}`)
      if (ids !== '') await engine.docker('rm', '-f', ...ids.split('\n'))
      await rm(dir, { recursive: true, force: true })
    },
  }
}
