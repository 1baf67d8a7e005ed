import { join } from 'node:path'
import { envFilesOf } from './files.ts'
import { type Candidate, type Finds, NOTHING_FOUND, nameFrom } from './found.ts'
import { migrated } from './migrated.ts'
import { readSmall, type Site } from './site.ts'

/** A variable that holds the URL of a database: which one it is, and how Backout reads it. */
interface Url {
  readonly name: string
  /** The file that it stands in; null: the environment of this shell. */
  readonly file: string | null
  readonly kind: Kind
  /** As it is written into backout.yaml: never the value. */
  readonly reference: string
  readonly value: string
  /** Why it cannot be read like that; null: it can. */
  readonly held: string | null
}

type Kind = (typeof KINDS)[number]['kind']

const KINDS = [
  { kind: 'postgres', title: 'PostgreSQL', scheme: /^postgres(ql)?:\/\//i },
  { kind: 'mysql', title: 'MySQL or MariaDB', scheme: /^(mysql2?|mariadb):\/\//i },
] as const

const NAME = /^(?:[A-Z0-9]+_)*(?:DATABASE|DB|POSTGRES|POSTGRESQL|PG|MYSQL|MARIADB)_UR[LI]$/
const MOST = 5

/** Databases on servers, told by the variables that applications are given. Only the kind of a value is looked at. */
export async function databaseServers(site: Site, runIn: string | null): Promise<Finds> {
  const urls = (await urlsOf(site)).slice(0, MOST)
  const candidates = await Promise.all(urls.map(url => candidateOf(site, url, runIn)))
  return { ...NOTHING_FOUND, candidates }
}

async function urlsOf(site: Site): Promise<Url[]> {
  const found: Url[] = []
  for (const file of envFilesOf(site)) {
    const text = (await readSmall(join(site.dir, file))) ?? ''
    for (const [name, value] of assignments(text)) found.push(...urlOf(name, value, file, text))
  }
  for (const [name, value = ''] of Object.entries(process.env)) found.push(...urlOf(name, value, null, ''))
  const sorted = found.toSorted((a, b) => Number(b.name === 'DATABASE_URL') - Number(a.name === 'DATABASE_URL'))
  return sorted.filter((url, i) => sorted.findIndex(o => o.value === url.value || o.name === url.name) === i)
}

function assignments(text: string): [name: string, value: string][] {
  return text.split('\n').flatMap((line): [string, string][] => {
    const [, name, quoted, plain] = /^\s*(?:export\s+)?(\w+)\s*=\s*(?:(["'].*["'])|([^\s#"']+))/.exec(line) ?? []
    return name === undefined ? [] : [[name, quoted?.slice(1, -1) ?? plain ?? '']]
  })
}

function urlOf(name: string, value: string, file: string | null, text: string): Url[] {
  const kind = NAME.test(name) ? KINDS.find(k => k.scheme.test(value))?.kind : undefined
  if (kind === undefined) return []
  const env = { name, file, kind, value, reference: `\${env:${name}}` }
  if (file === null) return [{ ...env, held: null }]
  // As the command below reads it, which knows neither comments nor other variables.
  const read = text
    .match(new RegExp(`^(?:export )?${name}=.*$`, 'm'))?.[0]
    .replace(/^[^=]*=/, '')
    .replaceAll(/["']/g, '')
  const plain = /^[\w./-]+$/.test(file) && read?.trimEnd() === value && !value.includes('$')
  if (!plain)
    return [{ ...env, held: `${name} in ${file} is not written plainly: give it to Backout in the environment` }]
  return [{ ...env, reference: `\${cmd:sed -n 's/^\\(export \\)*${name}=//p' ${file} | tr -d "\\"'\\r"}`, held: null }]
}

async function candidateOf(site: Site, url: Url, runIn: string | null): Promise<Candidate> {
  const title = KINDS.find(k => k.kind === url.kind)?.title ?? url.kind
  const where = url.file === null ? 'this shell' : url.file
  const wish = {
    id:
      nameFrom(
        url.name.replace(/_?(DATABASE|DB|POSTGRES|POSTGRESQL|PG|MYSQL|MARIADB)_UR[LI]$/, '').toLowerCase(),
        '',
      ) || 'db',
    adapter: url.kind,
    what: `${title} database of ${url.name} (${where})`,
    about: [
      `The database that ${url.name} leads to. Its login may lack rights: \`backout doctor\` names them. A capture backs it up and proves the backup by restoring it.`,
    ],
    settings: { url: url.reference },
    secrets: { [url.reference]: url.value },
  }
  if (url.held !== null) return { ...wish, hints: [], layer: 'data', held: url.held }
  return migrated(site, wish, runIn)
}
