import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Dockerd } from './dockerd.ts'

/** Why there is no registry on this machine, or null. Throws where CI is set: there a skipped test would hide a hole. */
export function noRegistry(): string | null {
  const there = existsSync('/usr/bin/docker-registry')
  if (there || process.env['CI'] !== 'true') return there ? null : 'no docker-registry'
  throw new Error('docker-registry is not installed, and CI must not skip the tests with it')
}

export interface Registry {
  /** As names of images begin: "127.0.0.1:5000". Only the engine reaches it. */
  readonly name: string
  /** Pushes an image of the engine under another name. Resolves with the name by its digest. */
  push(image: string, as: string): Promise<string>
  /** Forgets an image as a registry's own clean-up does. */
  forget(repository: string): Promise<void>
  dispose(): Promise<void>
}

/** A registry of the engine's own, in its network; `others` have the same one in theirs, for none but the loopback is trusted. */
export async function registry(engine: Dockerd, others: readonly Dockerd[] = []): Promise<Registry> {
  const dir = await mkdtemp(join(tmpdir(), 'backout-registry-'))
  const name = '127.0.0.1:5000'
  const config = {
    version: 0.1,
    log: { level: 'error' },
    storage: { filesystem: { rootdirectory: join(dir, 'data') } },
    http: { addr: name },
  }
  await mkdir(join(dir, 'data'))
  await writeFile(join(dir, 'config.yml'), JSON.stringify(config))
  const children = [engine, ...others].map(e => e.inside('docker-registry', 'serve', join(dir, 'config.yml')))
  const exited = children.map(child => once(child, 'exit'))
  const { docker } = engine
  return {
    name,
    async push(image, as) {
      await docker('tag', image, `${name}/${as}`)
      await pushed(docker, `${name}/${as}`)
      return docker('image', 'inspect', '--format', '{{index .RepoDigests 0}}', `${name}/${as}`)
    },
    forget: repository => rm(join(dir, 'data/docker/registry/v2/repositories', repository), { recursive: true }),
    async dispose() {
      for (const child of children) child.kill('SIGKILL')
      await Promise.all(exited)
      await rm(dir, { recursive: true, force: true })
    },
  }
}

/** It answers a moment after it was begun. */
async function pushed(docker: Dockerd['docker'], image: string): Promise<void> {
  for (let i = 0; ; i++) {
    try {
      return void (await docker('push', '-q', image))
    } catch (error) {
      if (i === 100) throw error
      await new Promise(resolve => setTimeout(resolve, 100))
    }
  }
}
