import { z } from 'zod'
import { quote } from '../../exec/ssh.ts'
import { composeOf, docker, type Host, noFolder, refused, run, said } from './host.ts'
import { columns, unread } from './printed.ts'

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
  readonly name: string
  readonly service: string
  /** Id of the image that it was made from. */
  readonly image: string
  readonly ref: string
  readonly hash: string
  readonly state: z.infer<typeof state>
  /** How often the engine started it anew by itself since it was made. */
  readonly restarts: number
  readonly created: string
  /** Volumes that no file names: they belong to this container, until Compose hands them on to the next one. */
  readonly volumes: readonly { readonly name: string; readonly path: string }[]
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
  /** Names of containers that `compose run` began and that still run: people's own, and no part of a service. */
  readonly oneOffs: readonly string[]
  /** Compose commands that somebody else has under way there. */
  readonly busy: readonly Busy[]
  /** A process on the host that the step asked for began; null: none is alive. */
  readonly alive: string | null
}

/** A process on the host that calls Compose for this project. */
export interface Busy {
  readonly pid: string
  /** When it was started, in ticks of the host's kernel: a number that is used again is another process. */
  readonly born: string
  /** This user may end it. */
  readonly ours: boolean
  /** The step of Backout that began it; null: somebody else. */
  readonly step: string | null
  readonly words: string
}

/** What Compose takes by itself: the first of these, and the override beside it. */
const DEFAULTS = ['compose.yaml', 'compose.yml', 'docker-compose.yml', 'docker-compose.yaml']
const OVERRIDES = [
  'compose.override.yaml',
  'compose.override.yml',
  'docker-compose.override.yml',
  'docker-compose.override.yaml',
]

const LABEL = 'com.docker.compose'
const FIELDS = [
  '.Id',
  '.Name',
  '.Image',
  '.Config.Image',
  `(index .Config.Labels "${LABEL}.service")`,
  `(index .Config.Labels "${LABEL}.config-hash")`,
  '.State',
  '.RestartCount',
  '.Created',
  '.Mounts',
  `(index .Config.Labels "${LABEL}.oneoff")`,
]
const LINE = `container ${FIELDS.map(field => `{{json ${field}}}`).join('\t')}`

/** When a process was started, in the kernel's ticks; nothing where there is none, or only its remains. */
export const BORN = `born() {
  s=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
  set -- \${s##*) }
  [ "$1" = Z ] || echo "\${20}"
}`

/** All that is asked of the host, in one go: each command costs it more than its work. A shell that merely has such words is no Compose. */
const LOOK = `
${BORN}
dir=$1 project=$2 idem=$3 line=$4 me=$(id -u)
shift 4
# A process is where a link leads to, and not at the link.
real=$(readlink -f "$dir") || exit 21
date +now:%s
# Before \`info\`, which says of an engine that is away something else in older clients, and that all is well in others.
ids=$(docker_ ps -aq --no-trunc --filter "label=${LABEL}.project=$project") || exit 20
id=$(docker_ info --format '{{.ID}}') && [ -n "$id" ] || exit 20
echo "engine $id"
[ -z "$ids" ] || docker_ inspect --type container --format "$line" $ids || echo some are gone
for f in $(grep -lsF compose /proc/[0-9]*/cmdline); do
  p=\${f%/cmdline}
  line=$(tr '\\0' ' ' <"$f" 2>/dev/null) || continue
  case \${line%% *} in *docker|*docker-compose|*python*) ;; *) continue ;; esac
  # The space after \`up\` is doubled, for it is also the one before its first option.
  words=$line
  case " $line " in *" up "*) words="\${line%%" up "*} up  \${line#*" up "}" ;; esac
  case " $words " in
    *" up "*" -d"*|*" up "*" -"[a-zA-Z]d*|*" up "*" -"[a-zA-Z][a-zA-Z]d*|*" up "*" --detach"*|*" up "*" --wait"*) ;;
    *" start "*|*" stop "*|*" down "*|*" restart "*|*" pull "*|*" build "*|*" create "*|*" rm "*) ;;
    *) continue ;;
  esac
  case " $line " in *" $project "*|*"$dir/"*|*"$real/"*) ;; *) [ "$(readlink "$p/cwd")" = "$real" ] || continue ;; esac
  mark=$(tr '\\0' '\\n' <"$p/environ" 2>/dev/null | sed -n 's/^BACKOUT_IDEM=//p' | head -n 1)
  at=$(born "\${p#/proc/}") && [ -n "$at" ] || continue
  ours=no
  [ "$me" != 0 ] && [ "$(stat -c %u "$p" 2>/dev/null)" != "$me" ] || ours=yes
  printf 'busy %s %s %s %s %s\\n' "\${mark:--}" "\${p#/proc/}" "$at" $ours "$line" | cut -c1-240
done
for f in $([ -z "$idem" ] || grep -lsF "BACKOUT_IDEM=$idem" /proc/[0-9]*/environ); do
  tr '\\0' '\\n' <"$f" 2>/dev/null | grep -qxF "BACKOUT_IDEM=$idem" || continue
  f=\${f#/proc/}
  echo "alive \${f%/environ}"
done
cd "$dir" || exit 21
for f; do
  [ -f "$f" ] || continue
  printf 'file %s %s %s\\n' "$(stat -Lc '%a %u:%g' "$f")" "$(base64 <"$f" | tr -d '\\n')" "$f"
done
echo end`

/** How often containers may vanish while they are asked. */
const TRIES = 5

/** Reads what is there; with the mark of a step, whether anything that it began is alive. */
export async function look(host: Host, signal: AbortSignal, idem = ''): Promise<View> {
  const { directory, files, also } = host.config
  const names = [...(files ?? [...DEFAULTS, ...OVERRIDES]), ...also]
  const script = `docker_() { ${docker(host).map(quote).join(' ')} "$@"; }${LOOK}`
  const argv = ['sh', '-c', script, 'look', directory, host.project, idem, LINE, ...names]
  for (let again = 0; ; again++) {
    const result = await run(host, { argv }, signal)
    if (result.code === 21) throw noFolder(host)
    const lines = result.stdout.split('\n')
    if (result.code !== 0 || !lines.includes('end')) throw refused(host, 'looking at the project', result)
    // One that went away in between: what the others are is asked once more.
    if (lines.includes('some are gone') && again < TRIES) continue
    if (lines.includes('some are gone')) throw refused(host, 'docker inspect', { ...result, code: 1, stdout: '' })
    return viewOf(host, lines)
  }
}

function viewOf(host: Host, lines: readonly string[]): View {
  const all = (word: string) => lines.filter(l => l.startsWith(word)).map(l => l.slice(word.length))
  const containers = all('container ')
    .map(line => containerOf(host, line))
    .filter(c => !host.config.except.includes(c.service))
  return {
    engine: all('engine ')[0] ?? '',
    now: Number(all('now:')[0]) * 1000,
    files: filesOf(host, all('file ')),
    containers: containers.filter(c => !c.oneOff),
    oneOffs: containers.filter(c => c.oneOff && c.state.Status === 'running').map(c => c.name),
    busy: all('busy ').map(busyOf),
    alive: all('alive ')[0] ?? null,
  }
}

/** The files that are there, in the order in which Compose takes them; those of variables last. */
function filesOf({ config: { files, also } }: Host, lines: readonly string[]): FileView[] {
  const found = lines.flatMap(line => {
    const [, mode, owner, content = '', path] = /^(\d+) (\d+:\d+) ([A-Za-z0-9+/=]*) (.*)$/.exec(line) ?? []
    if (mode === undefined || owner === undefined || path === undefined) return []
    return [{ path, mode, owner, content: Buffer.from(content, 'base64') }]
  })
  if (files !== undefined) return found
  const first = found.find(f => DEFAULTS.includes(f.path))
  const second = found.find(f => OVERRIDES.includes(f.path))
  return found.filter(f => f === first || f === second || also.includes(f.path))
}

/** "- 4711 123456 yes docker compose up -d". */
function busyOf(line: string): Busy {
  const [mark = '-', pid = '', born = '', ours, ...words] = line.split(' ')
  const step = mark === '-' || mark === 'backout' ? null : mark
  return { pid, born, ours: ours === 'yes', step, words: words.join(' ').trim() }
}

const text = z.string()
const mounts = z.array(z.object({ Type: z.string(), Name: z.string().optional(), Destination: z.string() }))
const told = z.tuple([text, text, text, text, text, text.catch(''), state, z.number(), text, mounts, text.catch('')])
/** As the engine calls a volume that was given no name. */
const NAMELESS = /^[0-9a-f]{64}$/

function containerOf(host: Host, line: string): Container & { readonly oneOff: boolean } {
  const found = columns(told, line)
  if (found === null) throw unread(host, 'docker inspect', line)
  const [id, name, image, ref, service, hash, now, restarts, created, mounted, oneOff] = found
  const volumes = mounted.flatMap(({ Type: type, Name: called = '', Destination: path }) =>
    type === 'volume' && NAMELESS.test(called) ? [{ name: called, path }] : [],
  )
  const made = { id, name: name.replace(/^\//, ''), image, ref, service, hash, created }
  const plain = { ...made, state: now, restarts, volumes }
  return { ...plain, oneOff: /^true$/i.test(oneOff) }
}

export interface LocalImage {
  readonly id: string
  readonly digests: readonly string[]
}

const image = z.tuple([text, z.array(text).nullable()])

/** An image by name, digest or id on the host; null where it is not there. */
export async function imageOf(host: Host, ref: string, signal: AbortSignal): Promise<LocalImage | null> {
  const format = '{{json .Id}}\t{{json .RepoDigests}}'
  const argv = [...docker(host), 'image', 'inspect', '--format', format, ref]
  const what = `docker image inspect ${ref}`
  for (let again = false; ; again = true) {
    const result = await run(host, { argv }, signal)
    if (result.code !== 0 && /no such image/i.test(result.stderr)) return null
    const out = result.code === 0 ? result.stdout : await said(host, what, { argv }, signal)
    const [id, digests] = columns(image, out) ?? []
    if (id !== undefined) return { id, digests: digests ?? [] }
    if (again) throw unread(host, what, out)
  }
}

/** The words that call Compose for this project with these files. */
export async function composing(host: Host, files: readonly string[], signal: AbortSignal): Promise<string[]> {
  const words = await composeOf(host, signal)
  return [...words, '-p', host.project, ...files.flatMap(file => ['-f', file])]
}
