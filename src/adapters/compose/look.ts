import { z } from 'zod'
import { composeOf, docker, type Host, run, said } from './host.ts'

const state = z.object({
  Status: z.string(),
  StartedAt: z.string(),
  ExitCode: z.number(),
  Error: z.string().optional(),
  Health: z
    .object({
      Status: z.string(),
      Log: z
        .array(z.object({ Output: z.string() }))
        .nullable()
        .optional(),
    })
    .nullable()
    .optional(),
})

export interface Container {
  readonly id: string
  readonly service: string
  /** Id of the image that it was made from. */
  readonly image: string
  readonly ref: string
  readonly hash: string
  readonly state: z.infer<typeof state>
  readonly restarts: number
}

export interface FileView {
  readonly path: string
  readonly content: Buffer
  /** As chmod and chown take them. */
  readonly mode: string
  readonly owner: string
}

/** The project as it is right now. */
export interface View {
  readonly engine: string
  /** The host's clock, in milliseconds. */
  readonly now: number
  readonly files: readonly FileView[]
  /** Of services that are cared for. */
  readonly containers: readonly Container[]
  /** Compose commands that somebody else has under way there. */
  readonly busy: readonly string[]
}

/** What Compose takes by itself: the first of these, and the override beside it. */
const DEFAULTS = ['compose.yaml', 'compose.yml', 'docker-compose.yml', 'docker-compose.yaml']
const OVERRIDES = [
  'compose.override.yaml',
  'compose.override.yml',
  'docker-compose.override.yml',
  'docker-compose.override.yaml',
]

export async function look(host: Host, signal: AbortSignal): Promise<View> {
  const format = '{{.ID}}'
  const engine = await said(host, 'docker info', { argv: [...docker(host), 'info', '--format', format] }, signal)
  const [files, containers, { busy, now }] = await Promise.all([
    filesOf(host, signal),
    containersOf(host, signal),
    processesOf(host, signal),
  ])
  return { engine: engine.trim(), now, files, containers, busy }
}

const READ = `cd "$1" || exit 9
shift
for f; do
  [ -f "$f" ] || continue
  printf 'file %s %s %s\\n' "$(stat -Lc '%a %u:%g' "$f")" "$(base64 <"$f" | tr -d '\\n')" "$f"
done`

/** The files that are there, in the order in which Compose takes them; those of variables last. */
async function filesOf(host: Host, signal: AbortSignal): Promise<FileView[]> {
  const { directory, files, also } = host.config
  const names = [...(files ?? [...DEFAULTS, ...OVERRIDES]), ...also]
  const argv = ['sh', '-c', READ, 'sh', directory, ...names]
  const out = await said(host, `reading the files of the project`, { argv }, signal)
  const found = out.split('\n').flatMap(line => {
    const [, mode, owner, content = '', path] = /^file (\d+) (\d+:\d+) ([A-Za-z0-9+/=]*) (.*)$/.exec(line) ?? []
    if (mode === undefined || owner === undefined || path === undefined) return []
    return [{ path, mode, owner, content: Buffer.from(content, 'base64') }]
  })
  if (files !== undefined) return found
  const first = found.find(f => DEFAULTS.includes(f.path))
  const second = found.find(f => OVERRIDES.includes(f.path))
  return found.filter(f => f === first || f === second || also.includes(f.path))
}

const LABEL = 'com.docker.compose'
const LINE = [
  '.Id',
  '.Image',
  '.Config.Image',
  `(index .Config.Labels "${LABEL}.service")`,
  `(index .Config.Labels "${LABEL}.config-hash")`,
  '.State',
  '.RestartCount',
]
  .map(field => `{{json ${field}}}`)
  .join('\t')

async function containersOf(host: Host, signal: AbortSignal): Promise<Container[]> {
  const filters = [`label=${LABEL}.project=${host.project}`, `label=${LABEL}.oneoff=False`].flatMap(f => [
    '--filter',
    f,
  ])
  const ids = await said(host, 'docker ps', { argv: [...docker(host), 'ps', '-aq', '--no-trunc', ...filters] }, signal)
  const list = ids.split('\n').filter(Boolean)
  if (list.length === 0) return []
  const result = await run(
    host,
    { argv: [...docker(host), 'inspect', '--type', 'container', '--format', LINE, ...list] },
    signal,
  )
  // One that went away in between is no failure: the others are told all the same.
  if (result.code !== 0 && !/no such container/i.test(result.stderr))
    await said(host, 'docker inspect', { argv: [...docker(host), 'inspect', ...list] }, signal)
  return result.stdout
    .split('\n')
    .filter(Boolean)
    .map(parsed)
    .filter(c => !host.config.except.includes(c.service))
}

function parsed(line: string): Container {
  const [id, image, ref, service, hash, told, restarts] = line.split('\t').map(part => JSON.parse(part) as unknown)
  const text = z.string()
  return {
    id: text.parse(id),
    image: text.parse(image),
    ref: text.parse(ref),
    service: text.parse(service),
    hash: text.catch('').parse(hash),
    state: state.parse(told),
    restarts: z.number().parse(restarts),
  }
}

/** Compose at work in that folder or on that project; a shell that merely has such words is not. */
const PROCESSES = `date +now:%s
for f in $(grep -lsF compose /proc/[0-9]*/cmdline); do
  p=\${f%/cmdline}
  line=$(tr '\\0' ' ' <"$f" 2>/dev/null) || continue
  case \${line%% *} in *docker|*docker-compose|*python*) ;; *) continue ;; esac
  case " $line " in
    *" up "*" -d"*|*" up "*" --detach"*|*" -d "*" up "*|*" down "*|*" restart "*|*" pull "*|*" build "*|*" create "*|*" rm "*) ;;
    *) continue ;;
  esac
  case " $line " in *" $2 "*|*"$1/"*) ;; *) [ "$(readlink "$p/cwd")" = "$1" ] || continue ;; esac
  mark=$(tr '\\0' '\\n' <"$p/environ" 2>/dev/null | sed -n 's/^BACKOUT_IDEM=//p' | head -n 1)
  printf 'busy %s %s %s\\n' "\${mark:--}" "\${p#/proc/}" "$line" | cut -c1-200
done`

async function processesOf(host: Host, signal: AbortSignal): Promise<{ busy: string[]; now: number }> {
  const argv = ['sh', '-c', PROCESSES, 'look', host.config.directory, host.project]
  const out = await said(host, 'looking at its processes', { argv }, signal)
  const busy = out.split('\n').filter(line => line.startsWith('busy '))
  return { busy: busy.map(line => line.slice(5)), now: Number(/^now:(\d+)$/m.exec(out)?.[1] ?? Number.NaN) * 1000 }
}

const MARKED = `for f in $(grep -lsF "BACKOUT_IDEM=$1" /proc/[0-9]*/environ); do
  tr '\\0' '\\n' <"$f" 2>/dev/null | grep -qxF "BACKOUT_IDEM=$1" || continue
  f=\${f#/proc/}
  echo "\${f%/environ}"
  exit 0
done
exit 0`

/** A process on the host that a step began; null: none is alive. */
export async function alive(host: Host, idem: string, signal: AbortSignal): Promise<string | null> {
  const out = await said(host, 'looking at its processes', { argv: ['sh', '-c', MARKED, 'look', idem] }, signal)
  return out.trim() === '' ? null : out.trim()
}

export interface LocalImage {
  readonly id: string
  readonly digests: readonly string[]
}

/** An image by name, digest or id on the host; null where it is not there. */
export async function imageOf(host: Host, ref: string, signal: AbortSignal): Promise<LocalImage | null> {
  const format = '{{json .Id}}\t{{json .RepoDigests}}'
  const argv = [...docker(host), 'image', 'inspect', '--format', format, ref]
  const result = await run(host, { argv }, signal)
  if (result.code !== 0 && /no such image/i.test(result.stderr)) return null
  const out = result.code === 0 ? result.stdout : await said(host, `docker image inspect ${ref}`, { argv }, signal)
  const [id, digests] = out.trim().split('\t')
  return {
    id: z.string().parse(JSON.parse(id ?? 'null')),
    digests:
      z
        .array(z.string())
        .nullable()
        .parse(JSON.parse(digests ?? 'null')) ?? [],
  }
}

/** The words that call Compose for this project with these files. */
export async function composing(host: Host, files: readonly string[], signal: AbortSignal): Promise<string[]> {
  const words = await composeOf(host, signal)
  return [...words, '-p', host.project, ...files.flatMap(file => ['-f', file])]
}

/** Compose's own hash of each service as the files on the host say it. Throws `compose_refused` where they do not hold. */
export async function hashesOf(
  host: Host,
  files: readonly string[],
  signal: AbortSignal,
): Promise<Map<string, string>> {
  const argv = [...(await composing(host, files, signal)), 'config', '--hash', '*']
  const out = await said(host, 'compose config --hash', { argv, cwd: host.config.directory }, signal)
  return new Map(
    out
      .split('\n')
      .filter(Boolean)
      .map(line => line.split(' ', 2) as [string, string]),
  )
}
