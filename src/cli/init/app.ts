import { lstat, readdir, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { type Candidate, type Finds, NOTHING_FOUND, nameFrom } from './found.ts'
import { readSmall, type Site } from './site.ts'

/** A systemd unit that mentions the folder. */
export interface Unit {
  readonly name: string
  /** Of the user's own manager. */
  readonly user: boolean
}

export async function unitsFor(site: Site): Promise<Unit[]> {
  const found: Unit[] = []
  for (const folder of site.machine.unitFolders) {
    const names = (await readdir(folder).catch(() => [])).filter(name => name.endsWith('.service'))
    for (const name of names.toSorted()) {
      const text = await readSmall(join(folder, name))
      if (text !== null && mentions(text, site.dir)) found.push({ name, user: folder.endsWith('systemd/user') })
    }
  }
  return found
}

/** The folder itself or something in it, not another one whose name begins alike. */
export function mentions(text: string, folder: string): boolean {
  const escaped = folder.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')
  return new RegExp(`${escaped}(?=[/\\s"';]|$)`, 'm').test(text)
}

/** Folders of releases behind a link, as Capistrano and its like make them, or two slots. */
export async function apps(site: Site, units: readonly Unit[]): Promise<Finds> {
  const near = site.folders.filter(path => path.split('/').length <= 2)
  const roots: { path: string; strategy: 'symlink' | 'blue-green' }[] = []
  for (const path of ['.', ...near]) {
    const strategy = await strategyAt(join(site.dir, path))
    if (strategy !== null) roots.push({ path, strategy })
  }
  const candidates = roots.map(async ({ path, strategy }): Promise<Candidate> => {
    const link = join(site.dir, path, strategy === 'symlink' ? 'current' : 'live')
    const leads = (await stat(link).catch(() => null))?.isDirectory() === true
    const candidate = candidateOf(site, path, strategy, roots.length === 1, units)
    return leads ? candidate : { ...candidate, held: `the link ${link} leads to no folder` }
  })
  return { ...NOTHING_FOUND, candidates: await Promise.all(candidates) }
}

async function strategyAt(root: string): Promise<'symlink' | 'blue-green' | null> {
  const isLink = async (name: string) => (await lstat(join(root, name)).catch(() => null))?.isSymbolicLink() === true
  const isFolder = async (name: string) => (await stat(join(root, name)).catch(() => null))?.isDirectory() === true
  if ((await isFolder('releases')) && (await isLink('current'))) return 'symlink'
  const slots = (await isFolder('blue')) && (await isFolder('green'))
  return slots && (await isLink('live')) ? 'blue-green' : null
}

function candidateOf(
  site: Site,
  path: string,
  strategy: 'symlink' | 'blue-green',
  only: boolean,
  units: readonly Unit[],
): Candidate {
  const root = path === '.' ? site.dir : join(site.dir, path)
  const [unit] = units.filter(u => !u.name.includes('@'))
  const service = unit === undefined ? null : { systemd: unit.name, ...(unit.user ? { user: true } : {}) }
  const layout = strategy === 'symlink' ? 'releases/ behind the link `current`' : 'two slots behind the link `live`'
  return {
    id: only ? 'app' : nameFrom(`app-${basename(root)}`, 'app'),
    adapter: 'hosts',
    what: `${layout} in ${root}`,
    about: [`The application: ${layout}.`],
    settings: {
      hosts: ['local'],
      root,
      ...(strategy === 'symlink' ? {} : { strategy }),
      ...(service === null ? {} : { service }),
    },
    hints: [
      'hosts: [web-1, deploy@web-2]   # where it runs on other machines, as ssh takes them',
      ...(service === null
        ? [
            'How it is started and stopped. Without it only the link is switched, and no process is restarted:',
            'service: { systemd: app.service }',
          ]
        : []),
      "version: 'curl -fsS http://localhost:8080/version'   # what really runs",
    ],
    layer: 'app',
    held: null,
  }
}

/** The folder above the configuration that links and slots stand in; for messages. */
export function folderName(dir: string): string {
  return basename(dir) === 'current' ? basename(dirname(dir)) : basename(dir)
}
