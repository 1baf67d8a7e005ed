import { type Http2ServerResponse } from 'node:http2'
import { type Api } from '../api.ts'
import { type Target } from '../http/request.ts'
import { badRequest } from '../status.ts'
import { type Pod } from '../types.ts'
import { type ContainerWorker } from './container.ts'
import { type Kubelets } from './index.ts'

/** `GET pods/NAME/log`, with `container`, `previous`, `tailLines`, `limitBytes` and `follow`. */
export function serveLogs(
  api: Api,
  kubelets: Kubelets,
  target: Target,
  query: URLSearchParams,
  response: Http2ServerResponse,
): void {
  const pod = api.get(target.resource, target.namespace, target.name ?? '') as Pod
  const name = query.get('container')
  const container = find(pod, kubelets, name)
  const previous = query.get('previous') === 'true'
  if (
    previous &&
    (container.previous === null || (container.running === null && container.status().restartCount === 0))
  ) {
    throw badRequest(`previous terminated container "${container.spec.name}" in pod "${pod.metadata.name}" not found`)
  }
  // Of each container one that is dead is kept: where it ended again, the one before is gone.
  const gone = previous && container.running === null && container.status().lastState.terminated !== undefined
  const { containerID } = container.status().lastState.terminated ?? {}
  if (gone && container.state.terminated !== undefined) {
    response.writeHead(200, { 'content-type': 'text/plain' })
    return void response.end(`unable to retrieve container logs for ${containerID}`)
  }
  let lines = previous ? (container.previous ?? []) : container.lines
  const tail = query.get('tailLines')
  if (tail !== null) lines = Number(tail) === 0 ? [] : lines.slice(-Number(tail))
  let text = lines.map(line => `${line}\n`).join('')
  const limit = query.get('limitBytes')
  if (limit !== null) text = text.slice(0, Number(limit))
  response.writeHead(200, { 'content-type': 'text/plain' })
  response.write(text)
  const { running } = container
  if (query.get('follow') === 'true' && running !== null && !previous) follow(running, response)
  else response.end()
}

function find(pod: Pod, kubelets: Kubelets, name: string | null): ContainerWorker {
  const { containers } = pod.spec
  if (name === null && containers.length > 1) {
    const names = containers.map(container => container.name).join(' ')
    throw badRequest(`a container name must be specified for pod ${pod.metadata.name}, choose one of: [${names}]`)
  }
  const worker = kubelets.worker(pod)?.container(name)
  const asked = name ?? containers[0]?.name
  if (worker === undefined) {
    throw badRequest(
      kubelets.worker(pod) === undefined
        ? `pod ${pod.metadata.name} does not have a host assigned`
        : `container ${asked} is not valid for pod ${pod.metadata.name}`,
    )
  }
  const { waiting } = worker.state
  if (waiting !== undefined && worker.previous === null) {
    const why = waiting.reason === 'ContainerCreating' ? 'ContainerCreating' : `trying and failing to pull image`
    throw badRequest(`container "${asked}" in pod "${pod.metadata.name}" is waiting to start: ${why}`)
  }
  return worker
}

function follow(running: NonNullable<ContainerWorker['running']>, response: Http2ServerResponse): void {
  const say = (line: string): void => void response.write(`${line}\n`)
  running.onLine.add(say)
  const ended = running.onEnd
  running.onEnd = code => {
    ended(code)
    response.end()
  }
  response.on('close', () => running.onLine.delete(say))
}
