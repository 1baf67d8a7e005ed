import type { Question } from '../../core/contract.ts'
import { BackoutError } from '../../core/errors.ts'
import type { KubeObject } from '../../kubernetes/api/objects.ts'
import { eachOf } from '../../kubernetes/site.ts'
import type { Say } from './check.ts'
import type { Revision } from './cli.ts'
import type { Place } from './look.ts'
import { kindsOf } from './manifest.ts'
import type { HelmPin } from './pin.ts'

interface Served extends KubeObject {
  resources?: { kind: string }[]
}

const AT_ONCE = 10

/**
 * Helm reads both revisions before it does anything, and refuses where the server has a kind of them no more: in another version
 * since it was brought up to date, or no more at all. One that remembers what the server had stops half-way instead.
 */
export async function checkKinds(
  place: Place,
  { target, last }: { target: Revision; last: Revision },
  { release, signal }: Pick<Question<HelmPin>, 'release' | 'signal'>,
  say: Say,
): Promise<void> {
  const { config, helm } = place
  const then = await gone(place, kindsOf(await helm.manifest(target.revision, signal)), signal)
  if (then.length > 0)
    say(
      'blocker',
      'kind_gone',
      `The server does not have ${then.join(', ')} of revision ${target.revision} any more, and Helm goes back to no release that names it (${release})`,
      `install that version of the chart anew, with templates for this server: \`helm upgrade ${config.release} CHART --version VERSION\``,
    )
  const now = await gone(place, kindsOf(await helm.manifest(last.revision, signal)), signal)
  if (now.length > 0)
    say(
      'blocker',
      'kind_gone',
      `The server does not have ${now.join(', ')} of revision ${last.revision} any more, and Helm leaves no release that names it`,
      `have its record name what is served: \`helm mapkubeapis ${config.release}\` (github.com/helm/helm-mapkubeapis), then plan again`,
    )
}

/** "PodDisruptionBudget (policy/v1beta1)". */
async function gone({ site }: Place, kinds: readonly (readonly [string, string])[], signal: AbortSignal) {
  const versions = [...new Set(kinds.map(([version]) => version))]
  const served = await eachOf(versions, AT_ONCE, async version => {
    const path = `${version.includes('/') ? '/apis' : '/api'}/${version}`
    return site.client.get<Served>(path, signal).catch(unlessHidden)
  })
  const had = new Map(versions.map((version, i) => [version, served[i]]))
  return kinds.flatMap(([version, kind]) => {
    const found = had.get(version)
    // Nobody may know: Helm would be told no more.
    if (found === undefined || found?.resources?.some(one => one.kind === kind) === true) return []
    return [`${kind} (${version})`]
  })
}

/** A server may keep what it serves to itself, or not know it for a while where somebody else serves that. */
function unlessHidden(error: unknown): undefined {
  const codes = ['kubernetes_forbidden', 'kubernetes_unreachable']
  if (error instanceof BackoutError && codes.includes(error.code)) return undefined
  throw error
}
