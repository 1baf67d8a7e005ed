import { z } from 'zod'
import { canonical, sameJson } from '../core/json.ts'
import type { Service } from './api/objects.ts'
import type { Case, Say } from './case.ts'

/** A port of a Service, and where it leads. */
export const servicePort = z.object({
  name: z.string().optional(),
  protocol: z.string().optional(),
  port: z.number(),
  targetPort: z.union([z.number(), z.string()]).optional(),
  appProtocol: z.string().optional(),
  nodePort: z.number().optional(),
})
type ServicePort = z.output<typeof servicePort>

export function portsOf({ spec }: Service): ServicePort[] {
  return z.array(servicePort).parse(spec['ports'] ?? [])
}

function hasNodePorts({ spec: { type } }: Service): boolean {
  return type === 'NodePort' || type === 'LoadBalancer'
}

/** The ports of a release as they are to be in the Service that is there, whose type stays: only some have ports on nodes. */
export function portsFor(now: Service, then: readonly ServicePort[]): ServicePort[] {
  const there = portsOf(now)
  return then.map(({ nodePort: pinned, ...port }) => {
    // One that it had not is given by the API server, and any will do.
    const nodePort = pinned ?? there.find(({ name }) => name === port.name)?.nodePort
    return hasNodePorts(now) && nodePort !== undefined ? { ...port, nodePort } : port
  })
}

/** In whatever order they are. */
export function samePorts(a: readonly ServicePort[], b: readonly ServicePort[]): boolean {
  const sorted = (ports: readonly ServicePort[]) => ports.map(canonical).sort()
  return sameJson(sorted(a), sorted(b))
}

/** Ports that a Service had at the release, where they are others now; null: they are the same, or nobody knows. */
export function portsToPut({ ports }: Case['question']['to'], now: Service): ServicePort[] | null {
  const then = ports?.[now.metadata.name]
  return then === undefined || samePorts(portsFor(now, then), portsOf(now)) ? null : then
}

/** Pods of the release listen on what it said: users reach them once its Services lead there again. */
export function checkPorts({ world, question: { to, release }, changing }: Case, say: Say): void {
  for (const now of world.services) {
    const name = `service/${now.metadata.name}`
    const then = portsToPut(to, now)
    if (then !== null) {
      say(
        'warning',
        'service_ports',
        `${name} has the ports ${toldOf(portsOf(now))}, and had ${toldOf(then)} at ${release}: they go back once the pods have, and until then users may not reach pods of ${release}`,
        'see that nothing else needs the ports of now; `drain: true` takes traffic away meanwhile',
      )
    } else if (to.ports === null && changing.length > 0 && to.services[now.metadata.name] !== undefined) {
      say(
        'note',
        'service_ports',
        `${release} was captured by a version of Backout that did not keep ports: those of ${name} stay as they are (${toldOf(portsOf(now))})`,
        `see that pods of ${release} listen there`,
      )
    }
  }
}

/** "80 to 8080, 443 to https" */
function toldOf(ports: readonly ServicePort[]): string {
  const one = ({ name, protocol, port, targetPort, nodePort }: ServicePort) => {
    const called = name === undefined ? '' : `${name} `
    const which = protocol === undefined || protocol === 'TCP' ? '' : `/${protocol}`
    const onNodes = nodePort === undefined ? '' : ` (${nodePort} on nodes)`
    return `${called}${port}${which} to ${targetPort ?? port}${onNodes}`
  }
  return ports.map(one).join(', ') || 'none'
}
