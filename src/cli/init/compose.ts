import { stringify } from 'yaml'
import type { Candidate, Paragraph } from './found.ts'
import type { Survey } from './look.ts'

const WIDTH = 110

/** The text of backout.yaml: what answers is live, everything else stands there as a comment. */
export function compose(survey: Survey): string {
  const { environment, candidates, paragraphs } = survey
  const live = candidates.filter(c => c.held === null)
  const held = candidates.filter(c => c.held !== null)
  const ids = (layer: Candidate['layer']) => live.filter(c => c.layer === layer).map(c => c.id)
  const below = { data: [], app: ids('data'), traffic: ids('app').length > 0 ? ids('app') : ids('data') }
  const blocks = live.map(c => component(c, below[c.layer]))
  if (live.length === 0) blocks.push(example(environment))
  else if (ids('app').length === 0) blocks.push(commented(appExample(ids('data'))))
  return [
    head(environment),
    `components:\n${blocks.join('\n')}`,
    ...held.map(c => holding(c, below[c.layer])),
    ...(paragraphs.length === 0 ? [] : [notTaken(paragraphs)]),
    TAIL,
  ].join('\n')
}

function head(environment: string): string {
  return `# How ${environment} is taken back. Written by \`backout init\`: read it, correct it, keep it in Git.
# docs/config.md explains it, examples/backout.reference.yaml has every setting. \`backout doctor\` says what is missing.

# The system that is rolled back. Name it as people do: production, staging.
environment: ${scalar(environment)}

# Where releases, backups, the journal and the lock live. A folder protects those who work with it; for several people
# and CI, name one machine for all: ssh://ops1/var/lib/backout
# home: .backout
`
}

function component(candidate: Candidate, dependsOn: readonly string[]): string {
  const { id, adapter, about, settings, hints } = candidate
  const body = stringify(
    { adapter, ...(dependsOn.length === 0 ? {} : { dependsOn }), settings },
    { lineWidth: 0, collectionStyle: 'any' },
  )
  return [
    ...about.flatMap(text => fold(text, '  # ')),
    `  ${id}:`,
    ...indented(short(body), '    '),
    ...hints.flatMap(hint => [`      # ${hint}`]),
    '',
  ].join('\n')
}

/** Lists of plain words on one line, as people write them. */
function short(body: string): string {
  return body.replaceAll(
    /^( *)([A-Za-z]+):\n((?:\1 {2}- [A-Za-z0-9._/@-]+\n)+)/gm,
    (_, indent: string, key: string, items: string) => {
      const words = [...items.matchAll(/- (.+)/g)].map(m => m[1])
      return `${indent}${key}: [${words.join(', ')}]\n`
    },
  )
}

function holding(candidate: Candidate, dependsOn: readonly string[]): string {
  const why = fold(`Found, but not live: ${candidate.held}. Once that is mended, take the # away:`, '  # ')
  return [...why, commented(component(candidate, dependsOn))].join('\n')
}

function commented(text: string): string {
  return text
    .split('\n')
    .map(line => (line === '' ? '' : `  # ${line.replace(/^ {2}/, '')}`))
    .join('\n')
}

const APP = `observe: |                  # prints what is there now; "state" is what is compared
        printf '{"state": "%s"}' "$(cat VERSION 2>/dev/null || echo none)"
      apply: |                    # brings it to $BACKOUT_STATE: put your own command here
        echo "backout.yaml has no command yet that brings the app to $BACKOUT_STATE" >&2; exit 1
      verify: |                   # exit code 0: it is there, 1: it is not
        test "\\"$(cat VERSION 2>/dev/null || echo none)\\"" = "$BACKOUT_STATE"`

/** What is written where nothing was found: it loads, it is well, and it refuses to act until somebody has filled it in. */
function example(environment: string): string {
  return `  # Nothing was found that an adapter takes back. This is an example to begin with: commands of your own that observe,
  # take back and verify (docs/adapters/command.md). \`backout adapters\` lists the adapters.
  app:
    adapter: command
    settings:
      identity: ${scalar(environment)}
      ${APP}
`
}

function appExample(dependsOn: readonly string[]): string {
  return `  # The application itself: no releases/<name>/ behind a link were found here. A \`hosts\` component takes such back, here
  # or over SSH; anything else can be commands of your own, for example:
  app:
    adapter: command
    dependsOn: [${dependsOn.join(', ')}]
    settings:
      identity: app
      ${APP}
      serves:                     # a database asks for this before it goes back
        stopped: { apply: ./stop, verify: ./is-stopped, undo: { apply: ./start } }
`
}

function notTaken(paragraphs: readonly Paragraph[]): string {
  const lines = paragraphs.flatMap(({ title, lines }) => [
    '#',
    ...fold(title, '# - '),
    ...lines.flatMap(l => fold(l, '#   ')),
  ])
  return ['# Found too, and NOT taken back by this file:', ...lines, ''].join('\n')
}

const TAIL = `# How it is known that all is well. Without gates nothing proves that it works after going back.
# probes:
#   health:
#     kind: http
#     url: http://localhost:8080/health
#     expect: { status: 200, json: { /status: ok } }
# gates:
#   healthy: { probes: [health], attempts: 10, interval: 2s, pass: 3 }
# policy:
#   verify: [healthy]                        # before users come back
#   watch: { gates: [healthy], for: 1h }     # afterwards; a failing gate takes users away again
#   bake: { gates: [healthy], for: 10m }     # makes a new release known-good
`

/** One value as YAML writes it. */
function scalar(text: string): string {
  return stringify(text).trimEnd()
}

function indented(text: string, by: string): string[] {
  return text
    .trimEnd()
    .split('\n')
    .map(line => by + line)
}

/** Broken at spaces; a line that is indented stays as it is, for it shows YAML. */
function fold(text: string, prefix: string): string[] {
  if (text.startsWith(' ') || text.length + prefix.length <= WIDTH + 10) return [prefix + text.replaceAll('\n', ' ')]
  const rest = prefix.replace('-', ' ')
  const out: string[] = []
  let line = prefix
  for (const word of text.replaceAll('\n', ' ').split(' ')) {
    const bare = line === prefix || line === rest
    if (!bare && line.length + word.length + 1 > WIDTH) {
      out.push(line)
      line = rest + word
    } else line = bare ? line + word : `${line} ${word}`
  }
  return [...out, line]
}
