import { basename, dirname, join } from 'node:path'
import { type Candidate, type Finds, nameFrom, NOTHING_FOUND } from './found.ts'
import { isAside, readYaml, type Site } from './site.ts'

const DEFAULT = /(^|\/)(compose\.ya?ml|docker-compose\.ya?ml)$/
/** Images of databases: they have components of their own. */
export const DATABASE =
  /(^|\/)(postgres|postgis|mysql|mariadb|percona|mongo|redis|valkey|rabbitmq|elasticsearch|opensearch)\b/

interface Compose {
  services?: Record<string, { image?: string } | null> | null
}

/** Projects of Compose, in the folders that its own file names are in. Which of them run here is tried by who asks. */
export async function projects(site: Site): Promise<Finds> {
  const folders = [...new Set(site.files.filter(path => DEFAULT.test(path) && !isAside(path)).map(dirname))].sort()
  const found = await Promise.all(folders.map(folder => candidateOf(site, folder)))
  return { ...NOTHING_FOUND, candidates: found }
}

async function candidateOf(site: Site, folder: string): Promise<Candidate> {
  const directory = join(site.dir, folder)
  const path = site.files.find(file => dirname(file) === folder && DEFAULT.test(file)) ?? ''
  const tree = (await readYaml(join(site.dir, path))) as Compose | null
  const data = Object.entries(tree?.services ?? {}).filter(([, service]) => DATABASE.test(service?.image ?? ''))
  const except = data.map(([name]) => name)
  return {
    id: nameFrom(basename(directory), 'app').toLowerCase(),
    adapter: 'compose',
    what: `Docker Compose: ${path}`,
    about: [
      `The project of Docker Compose in ${folder === '.' ? 'this folder' : folder}, which runs here: docs/adapters/compose.md`,
    ],
    settings: { directory, ...(except.length === 0 ? {} : { except }) },
    hints:
      except.length === 0 ? [] : ['databases are left out: they have components of their own, or stay as they are'],
    layer: 'app',
    held: null,
  }
}
