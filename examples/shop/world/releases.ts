import { createHash } from 'node:crypto'
import { cp, mkdir, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { NEW, OLD, type Paths, type Version } from './paths.ts'
import type { Store } from './store.ts'

const SOURCE = join(import.meta.dirname, '..', 'app')
/** Whose migrations a release brings: its own, and those of all before it. */
const LINEAGE: Record<Version, readonly Version[]> = { [OLD]: [OLD], [NEW]: [OLD, NEW] }

/** Puts a release's folder in place, as a build pipeline would: code, migrations, VERSION, checksums. */
export async function unpackRelease(paths: Paths, store: Store, version: Version): Promise<string> {
  const folder = join(paths.releases, version)
  const aside = `${folder}.new`
  await rm(aside, { recursive: true, force: true })
  await mkdir(aside, { recursive: true })
  await cp(join(SOURCE, 'common'), join(aside, 'common'), { recursive: true })
  await cp(join(SOURCE, version), join(aside, 'server'), { recursive: true, filter: path => !path.endsWith('/db') })
  for (const release of LINEAGE[version]) await cp(join(SOURCE, release, 'db'), join(aside, 'db'), { recursive: true })
  await writeMigrationsFor(store, join(aside, 'db', 'migrations'))
  await writeFile(join(aside, 'package.json'), `${JSON.stringify({ name: 'shop', version, type: 'module' })}\n`)
  await writeFile(join(aside, 'VERSION'), `${version}\n`)
  await writeFile(join(aside, 'MANIFEST.sha256'), await manifestOf(aside))
  await rename(aside, folder)
  return folder
}

/** The migrations are written for SQLite; other databases number their rows by other words. */
async function writeMigrationsFor({ numbered }: Store, folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const text = await readFile(join(folder, name), 'utf8')
    await writeFile(join(folder, name), text.replaceAll('INTEGER PRIMARY KEY AUTOINCREMENT', numbered))
  }
}

/** Points `current` at a release in one move. */
export async function switchTo(paths: Paths, version: Version): Promise<void> {
  const aside = `${paths.current}.new`
  await rm(aside, { force: true })
  await symlink(join('releases', version), aside)
  await rename(aside, paths.current)
}

/** In the format of sha256sum, so that `sha256sum -c MANIFEST.sha256` checks it. */
async function manifestOf(folder: string): Promise<string> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = entries
    .filter(entry => entry.isFile())
    .map(entry => relative(folder, join(entry.parentPath, entry.name)))
  const lines = await Promise.all(
    files.sort().map(async file => {
      const hash = createHash('sha256').update(await readFile(join(folder, file)))
      return `${hash.digest('hex')}  ${file}\n`
    }),
  )
  return lines.join('')
}
