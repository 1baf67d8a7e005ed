import type { Finding, Readiness } from '../../core/contract.ts'
import { look, type Place } from './look.ts'

/** What capturing and going back will need, asked ahead. */
export async function ready(place: Place, signal: AbortSignal): Promise<Readiness> {
  const { helm, config, site, ctx } = place
  const [version, world] = [await helm.version(signal), await look(place, signal)]
  const { server, context } = site.client.session
  const well = [`helm ${version}`, `${world.identity} at ${server} (context ${context})`]
  const findings: Finding[] = []
  const say = (level: Finding['level'], code: string, what: string, remedy: string): void => {
    findings.push({ level, code, component: ctx.component, what, remedy })
  }
  const good = world.history.filter(one => one.status === 'deployed' || one.status === 'superseded')
  if (world.history.length === 0) {
    say(
      'blocker',
      'release_missing',
      `Helm knows no release ${config.release} in ${site.namespace}`,
      'look at `release:`, `namespace:` and `context:` of the component',
    )
  } else if (good.length < 2) {
    say(
      'note',
      'history_short',
      `${config.release} has ${good.length} revision that was deployed: there is none before it to go back to`,
      'nothing, for a release that is new',
    )
  } else {
    well.push(`${good.length} revisions that were deployed`)
  }
  return { well, findings }
}
