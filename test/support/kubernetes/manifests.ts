import { type Fields } from './types.ts'

interface Options {
  readonly replicas?: number
  readonly env?: Record<string, string>
  /** The readiness probe's port; null: no probe. */
  readonly port?: number | null
  readonly spec?: Fields
  readonly pod?: Fields
  readonly container?: Fields
}

function template(name: string, image: string, o: Options): Fields {
  const port = o.port === undefined ? 80 : o.port
  const probe = port === null ? {} : { readinessProbe: { tcpSocket: { port }, periodSeconds: 1 } }
  const env = Object.entries(o.env ?? {}).map(([key, value]) => ({ name: key, value }))
  return {
    metadata: { labels: { app: name } },
    spec: { containers: [{ name: 'app', image, ...probe, ...(env.length > 0 && { env }), ...o.container }], ...o.pod },
  }
}

/** A deployment as a team would write it. */
export function deployment(name: string, image: string, o: Options = {}): Fields {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, labels: { app: name } },
    spec: {
      replicas: o.replicas ?? 1,
      selector: { matchLabels: { app: name } },
      template: template(name, image, o),
      ...o.spec,
    },
  }
}
