import { type Api, type Writer } from '../api.ts'
import { at, type Fields, type LabelSelector, type Obj } from '../types.ts'
import { type Target } from './request.ts'

/** autoscaling/v1 Scale, the view through which autoscalers and `kubectl scale` set replicas. */
export function getScale(object: Obj): Fields {
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata
  const labels = (at(object.spec, 'selector') as LabelSelector | undefined)?.matchLabels ?? {}
  return {
    kind: 'Scale',
    apiVersion: 'autoscaling/v1',
    metadata: { name, namespace, uid, resourceVersion, creationTimestamp },
    spec: { replicas: at(object.spec, 'replicas') ?? 0 },
    status: {
      replicas: at(object.status, 'replicas') ?? 0,
      selector: Object.entries(labels)
        .map(([key, value]) => `${key}=${value}`)
        .join(','),
    },
  }
}

export function scaleTo(api: Api, target: Target, name: string, scale: Obj, by: Writer): Obj {
  const replicas = at(scale.spec, 'replicas') as number
  const { resourceVersion } = scale.metadata ?? {}
  const patch = { spec: { replicas }, ...(resourceVersion === undefined ? {} : { metadata: { resourceVersion } }) }
  const after = api.patch(target.resource, target.namespace, name, patch, {
    ...by,
    type: 'merge',
    subresource: 'scale',
  })
  return getScale(after) as unknown as Obj
}
