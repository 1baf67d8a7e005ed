import { readdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { mentions, type Unit } from './app.ts'
import { COMMENTED, type Finds, join as joined, NOTHING_FOUND, type Paragraph } from './found.ts'
import { type Kubernetes, kubernetesHere } from './kubernetes.ts'
import { isAside, readSmall, readYaml, type Site } from './site.ts'

/** What is taken back by no adapter of this Backout, or by none on its own: said plainly, so that nobody relies on it. */
export async function others(
  site: Site,
  units: readonly Unit[],
  kinds: readonly string[],
  taken: readonly string[],
): Promise<Finds> {
  return joined([await compose(site, kinds, taken), await kubernetes(site, kinds), systemd(units), await nginx(site)])
}

function told(what: string, paragraph: Paragraph): Finds {
  return { seen: [{ what, then: COMMENTED }], candidates: [], paragraphs: [paragraph] }
}

function missing(kinds: readonly string[], kind: string, title: string, means: string): string[] {
  if (kinds.includes(kind)) return [`Add a component: docs/adapters/${kind}.md`]
  return [
    `This Backout has no adapter for ${title} yet: ${means}`,
    'Until then a `command` component can call your own commands.',
  ]
}

interface Compose {
  services?: Record<string, { image?: string } | null> | null
}

async function compose(site: Site, kinds: readonly string[], taken: readonly string[]): Promise<Finds> {
  const named = taken.map(what => what.replace(/^Docker (Compose: |Swarm: the stack \S+, by )/, ''))
  const folders = new Set(named.map(path => dirname(path)))
  const all = site.files.filter(path => /(^|\/)(docker-)?compose[^/]*\.ya?ml$/.test(path) && !isAside(path))
  const paths = all.filter(path => !folders.has(dirname(path)))
  if (paths.length === 0) return NOTHING_FOUND
  const services: string[] = []
  for (const path of paths) {
    const tree = (await readYaml(join(site.dir, path))) as Compose | null
    for (const [name, service] of Object.entries(tree?.services ?? {})) {
      services.push(service?.image === undefined ? name : `${name} (${service.image})`)
    }
  }
  const title = `Docker Compose: ${paths.join(', ')}`
  const lines = [
    `services: ${services.join(', ') || 'none'}`,
    ...missing(kinds, 'compose', 'Docker Compose', 'going back leaves these containers as they are.'),
  ]
  return told(title, { title, lines })
}

async function kubernetes(site: Site, kinds: readonly string[]): Promise<Finds> {
  const { contexts, current, manifests, objects }: Kubernetes = await kubernetesHere(site)
  // What is a component already needs no words.
  if ((current !== null && objects.length > 0) || contexts.length + manifests.length === 0) return NOTHING_FOUND
  const named = contexts.map(name => (name === current ? `${name} (current)` : name))
  const parts = [
    ...(named.length === 0 ? [] : [`contexts ${named.slice(0, 8).join(', ')}`]),
    ...(manifests.length === 0 ? [] : [`manifests ${manifests.slice(0, 5).join(', ')}`]),
  ]
  const what = `Kubernetes: ${parts.join('; ')}`
  const lines = [...parts, ...missing(kinds, 'kubernetes', 'Kubernetes', 'going back leaves what runs there as it is.')]
  return told(what, { title: 'Kubernetes', lines })
}

function systemd(units: readonly Unit[]): Finds {
  return joined(
    units.map(({ name, user }) => {
      const ctl = user ? 'systemctl --user' : 'systemctl'
      const lines = [
        'Its command or folder is in this one. With releases/<name>/ behind a link, a `hosts` component restarts it by itself;',
        'otherwise a `command` component does, and lets the database ask for it to be stopped:',
        '  serves:',
        '    stopped:',
        `      apply: ${ctl} stop ${name}`,
        `      verify: '! ${ctl} is-active --quiet ${name}'`,
        `      undo: { apply: ${ctl} start ${name}, verify: ${ctl} is-active --quiet ${name} }`,
      ]
      return told(`systemd unit ${name}`, { title: `The systemd unit ${name}`, lines })
    }),
  )
}

async function nginx(site: Site): Promise<Finds> {
  const inside = site.files.filter(path => /nginx[^/]*\.conf$|(^|\/)nginx\/.*\.conf$/.test(path) && !isAside(path))
  const outside: string[] = []
  for (const folder of site.machine.nginxFolders) {
    for (const name of await readdir(folder).catch(() => [])) {
      const text = await readSmall(join(folder, name))
      if (text !== null && mentions(text, site.dir)) outside.push(join(folder, name))
    }
  }
  const all = [...inside, ...outside]
  if (all.length === 0) return NOTHING_FOUND
  const lines = [
    'No adapter drains nginx itself yet. Its configuration can be taken back where Git has it (`git-config`, with',
    '`check: nginx -t -c {dir}/nginx.conf` and `reload: systemctl reload nginx`); traffic by a `command` component that',
    'serves `drained`, or by `traffic-http`, where something in front has an HTTP interface.',
  ]
  return told(`nginx: ${all.join(', ')}`, { title: `nginx: ${all.join(', ')}`, lines })
}
