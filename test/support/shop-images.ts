import { execFileSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Dockerd } from './dockerd.ts'

const BUSYBOX = ['/bin/busybox', '/usr/bin/busybox'].find(existsSync)
const APPLETS = 'sh cat sleep echo true false env ls printf test httpd'.split(' ')
/** Ends at once when it is told to; `ill` ends by itself. */
const RUN = `trap 'exit 0' TERM INT
[ ! -e /ill ] || { sleep 0.5; echo "cannot read its settings" >&2; exit 1; }
echo "serving $(cat /version)"
while :; do sleep 3600 & wait $!; done
`

/** Why images cannot be made here, or null. */
export function noImages(): string | null {
  const why = BUSYBOX === undefined ? 'no busybox' : null
  if (why === null || process.env['CI'] !== 'true') return why
  throw new Error(`no images can be made (${why}), and CI must not skip the tests with them`)
}

interface Made {
  /** What the image says of itself, in /version. */
  readonly version: string
  /** Its process ends after half a second. */
  readonly ill?: boolean
  /** Lines of a Dockerfile: `HEALTHCHECK …`, `ENV …`. */
  readonly lines?: readonly string[]
  /** Further files, by path. */
  readonly files?: Readonly<Record<string, string>>
}

/** Makes an image out of busybox, without any registry. Resolves with its id. */
export async function makeImage(engine: Pick<Dockerd, 'docker'>, name: string, made: Made): Promise<string> {
  const dir = mkdtempSync(join(tmpdir(), 'backout-image-'))
  try {
    const root = join(dir, 'root')
    for (const folder of ['bin', 'tmp', 'etc']) mkdirSync(join(root, folder), { recursive: true })
    copyFileSync(BUSYBOX ?? '', join(root, 'bin/busybox'))
    for (const applet of APPLETS) symlinkSync('busybox', join(root, 'bin', applet))
    const files = {
      '/version': `${made.version}\n`,
      '/run.sh': RUN,
      ...(made.ill ? { '/ill': '' } : {}),
      ...made.files,
    }
    for (const [path, content] of Object.entries(files)) writeFileSync(join(root, path), content, { mode: 0o755 })
    execFileSync('tar', ['-C', root, '-cf', join(dir, 'root.tar'), '.'])
    const changes = ['CMD ["/bin/sh", "/run.sh"]', 'ENV PATH=/bin', ...(made.lines ?? [])].flatMap(line => ['-c', line])
    return await engine.docker('import', ...changes, join(dir, 'root.tar'), name)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}
