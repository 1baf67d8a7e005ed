import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { digestOf, type Layer, RealRegistry } from '../../test/support/kubernetes/real/registry.ts'

const BUSYBOX = '/bin/busybox'

/** Puts the images that the tests use into the registry of a real cluster: the path of a static `pause` is given. */
const [pause] = process.argv.slice(2)
const url = process.env['BACKOUT_TEST_REGISTRY']
if (pause === undefined || url === undefined) throw new Error('expected the path of pause, and BACKOUT_TEST_REGISTRY')

await answers(url)
const registry = new RealRegistry(url)
const idle = layer(root => copyFileSync(pause, join(root, 'pause')))
for (const tag of ['3.8', '3.9', '3.10'])
  await registry.put(`registry.k8s.io/pause:${tag}`, idle, { Entrypoint: ['/pause'], Labels: { version: tag } })
const shell = layer(root => {
  for (const folder of ['bin', 'tmp', 'etc', 'root', 'var']) mkdirSync(join(root, folder))
  copyFileSync(BUSYBOX, join(root, 'bin/busybox'))
  const applets = execFileSync(BUSYBOX, ['--list'], { encoding: 'utf8' }).split('\n').filter(Boolean)
  for (const applet of applets) if (applet !== 'busybox') symlinkSync('busybox', join(root, 'bin', applet))
})
for (const tag of ['1.35', '1.36', '1.37', 'latest'])
  await registry.put(`busybox:${tag}`, shell, { Cmd: ['sh'], Env: ['PATH=/bin'], Labels: { version: tag } })

function layer(fill: (root: string) => void): Layer {
  const root = mkdtempSync(join(tmpdir(), 'backout-layer-'))
  try {
    fill(root)
    const tar = execFileSync('tar', ['-C', root, '-c', '--owner=0', '--group=0', '--mtime=@0', '--sort=name', '.'], {
      maxBuffer: 64 << 20,
    })
    return { blob: gzipSync(tar), diffId: digestOf(tar) }
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
}

async function answers(at: string): Promise<void> {
  for (let tries = 0; ; tries += 1) {
    try {
      return void (await fetch(`${at}/v2/`))
    } catch (error) {
      if (tries === 100) throw error
      await sleep(100)
    }
  }
}
