import { basename, dirname, join } from 'node:path'
import { type Candidate, type Finds, join as joined, NOTHING_FOUND, nameFrom } from './found.ts'
import { git, isAside, readYaml, type Site } from './site.ts'

/** Environment files, flag files, and configuration kept in Git. */
export async function files(site: Site): Promise<Finds> {
  const flags = await flagFiles(site)
  const taken = flags.candidates.map(c => String(c.settings['path']))
  return joined([envFiles(site), flags, await gitConfigs(site, taken)])
}

/** Those of what runs, not of who develops it. */
export function envFilesOf(site: Site): string[] {
  const all = site.files.filter(path => /(^|\/)\.env(\.[A-Za-z0-9_-]+)?$|\.env$/.test(path) && !isAside(path))
  return all.filter(path => !/\.(local|development|dev|ci|dist|defaults?|schema|vault)$/.test(path)).slice(0, 5)
}

function envFiles(site: Site): Finds {
  const live = envFilesOf(site)
  const candidates = live.map((path): Candidate => {
    const id = live.length === 1 ? 'env' : nameFrom(`env-${path.replaceAll(/(^|\/)\.env\.?|\.env$/g, '-')}`, 'env')
    return {
      id,
      adapter: 'env-file',
      what: `environment file ${path}`,
      about: [`Environment variables. Keys that look like secrets keep today's value, for secrets get rotated.`],
      settings: { path },
      hints: [
        'pinned: [SOME_KEY]   # secrets that go back with the release all the same',
        "reload: 'systemctl reload app'",
      ],
      layer: 'data',
      held: null,
    }
  })
  return { seen: [], candidates, paragraphs: [] }
}

async function flagFiles(site: Site): Promise<Finds> {
  const named = site.files.filter(
    path => /flag|feature|toggle/i.test(basename(path)) && /\.(json|ya?ml)$/.test(path) && !isAside(path),
  )
  const found: { path: string; format: string }[] = []
  for (const path of named) {
    const format = flagFormat(await readYaml(join(site.dir, path)), path)
    if (format !== null) found.push({ path, format })
  }
  const candidates = found.map(({ path, format }): Candidate => {
    const id = found.length === 1 ? 'flags' : nameFrom(`flags-${basename(path).replace(/\.[a-z]+$/, '')}`, 'flags')
    return {
      id,
      adapter: 'flag-file',
      what: `flag file ${path} (${format})`,
      about: ['Feature flags in a file.'],
      settings: { path, format },
      hints: ['off: [new-checkout]  # features of the release that is left: turned off whatever the file said'],
      layer: 'data',
      held: null,
    }
  })
  return { seen: [], candidates, paragraphs: [] }
}

/** flagd's own format, or a map of names to true and false. */
function flagFormat(tree: unknown, path: string): string | null {
  if (tree === null || typeof tree !== 'object' || Array.isArray(tree)) return null
  const { flags } = tree as { flags?: unknown }
  const entries = flags !== null && typeof flags === 'object' ? Object.values(flags) : []
  if (entries.some(flag => flag !== null && typeof flag === 'object' && 'variants' in flag)) return 'flagd'
  const values = Object.values(tree)
  const plain = values.length > 0 && values.every(value => typeof value === 'boolean')
  return plain ? (path.endsWith('.json') ? 'json' : 'yaml') : null
}

const SETTINGS_FILE = /\.(ya?ml|json|toml|ini|conf|cfg|cnf|properties|xml)$/
const CONFIG_FOLDER = /(^|\/)(config|conf|configuration|settings|etc)$/

/** Repositories inside the folder, and tracked folders of configuration. */
async function gitConfigs(site: Site, taken: readonly string[]): Promise<Finds> {
  const inner = site.folders.filter(path => basename(path) === '.git' && path !== '.git').map(dirname)
  const tracked =
    site.repository === null ? [] : site.folders.filter(path => CONFIG_FOLDER.test(path) && !isAside(path))
  const outer = tracked.filter(
    path => !inner.some(repository => path === repository || path.startsWith(`${repository}/`)),
  )
  const candidates: Candidate[] = []
  for (const path of inner) candidates.push(...(await gitConfig(site, path, path, taken)))
  for (const path of outer) candidates.push(...(await gitConfig(site, '.', path, taken)))
  if (candidates.length < 2) return { ...NOTHING_FOUND, candidates: candidates.map(c => ({ ...c, id: 'config' })) }
  const named = candidates.map((c, i) => ({ ...c, id: nameFrom(`config-${c.id}`, `config-${i + 1}`) }))
  return { ...NOTHING_FOUND, candidates: named }
}

/** The tracked settings files of a folder; nothing where it holds code. */
async function gitConfig(
  site: Site,
  repository: string,
  folder: string,
  taken: readonly string[],
): Promise<Candidate[]> {
  const root = join(site.dir, repository)
  const listed = await git(join(site.dir, folder), 'ls-files', '--full-name')
  const all = (listed ?? '').split('\n').filter(Boolean)
  const prefix = (await git(root, 'rev-parse', '--show-prefix')) ?? ''
  const live = (path: string) => join(repository, path.slice(prefix.length))
  const files = all.filter(path => SETTINGS_FILE.test(path) && !taken.includes(live(path)) && !isAside(path))
  if (files.length === 0 || files.length > 50) return []
  const whole = files.length === all.length
  const settings = whole
    ? { repository, ...(repository === folder ? {} : { from: join(prefix, folder) }), to: folder }
    : { repository, paths: Object.fromEntries(files.map(path => [path, live(path)])) }
  const shown = whole ? `${folder}/` : files.map(live).join(', ')
  return [
    {
      id: folder.replaceAll('/', '-'),
      adapter: 'git-config',
      what: `configuration in Git: ${shown}`,
      about: [`Configuration that is kept in Git, and live in ${folder}/.`],
      settings,
      hints: [
        "check: 'nginx -t -c {dir}/nginx.conf'   # before the files are put in place",
        "reload: 'systemctl reload app'",
      ],
      layer: 'data',
      held: null,
    },
  ]
}
