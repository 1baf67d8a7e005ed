import type { Finding, Readiness } from '../../core/contract.ts'
import { type Say, saySwarm } from './check.ts'
import { isHeld, lifting } from './halt.ts'
import { lookAtServices, lookAtSwarm } from './look.ts'
import type { Site } from './site.ts'
import { isJob } from './spec.ts'
import { isHeldStopped, starting } from './stopped.ts'
import type { Spec } from './types.ts'

function sayHeld(spec: Spec, say: Say): void {
  const { Name: name } = spec
  if (isHeldStopped(spec)) {
    const remedy = `bring it to a release (\`backout run\`), or have it run again: ${starting(spec)}`
    say('warning', 'service_stopped', `A run of Backout stopped ${name}: it has no tasks, whatever is deployed`, remedy)
  }
  if (!isHeld(spec)) return
  const what = `A run of Backout stopped the update of ${name}: no new task of it starts, whatever is deployed by \`docker service update\``
  say('warning', 'update_stopped', what, `bring it to a release (\`backout run\`), or let it go on: ${lifting(name)}`)
}

/** Whether the engine is a manager, whether the others answer, and which images nobody could get again. */
export async function ready(site: Site, signal: AbortSignal): Promise<Readiness> {
  const { component } = site
  const findings: Finding[] = []
  const say: Say = (level, code, what, remedy) => void findings.push({ level, code, component, what, remedy })
  const swarm = await lookAtSwarm(site, signal)
  saySwarm(swarm, say)
  for (const [name, { image, service }] of await lookAtServices(site, swarm, signal)) {
    if (isJob(service.Spec)) {
      const what = `${component}: ${name} is a job, which is no state that could be gone back to`
      say('warning', 'service_is_job', what, 'leave it out: `except`')
      continue
    }
    sayHeld(service.Spec, say)
    if (image.digest !== null) continue
    const what = `${component}: ${name} runs ${image.ref}, which has no digest: once it is pruned there is no way back to it`
    say('note', 'image_without_digest', what, 'deploy images from a registry')
  }
  const managers = swarm.nodes.filter(n => n.ManagerStatus !== undefined).length
  const well = `${site.engine.name} is a manager, one of ${managers}; ${swarm.nodes.length} node${swarm.nodes.length > 1 ? 's' : ''}`
  return { well: [well], findings }
}
