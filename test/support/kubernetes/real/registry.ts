import { createHash, randomUUID } from 'node:crypto'
import { fullName, type ImageSpec } from '../kubelet/registry.ts'

const MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json'
const CONFIG = 'application/vnd.docker.container.image.v1+json'
const LAYER = 'application/vnd.docker.image.rootfs.diff.tar.gzip'

export interface Layer {
  readonly blob: Buffer
  /** Digest of the tar that is in it. */
  readonly diffId: string
}

interface Described {
  readonly mediaType: string
  readonly size: number
  readonly digest: string
}

interface Config {
  readonly rootfs: { diff_ids: string[] }
}

/** A container registry that a real cluster pulls from, whatever registry an image names: by the name within it alone. */
export class RealRegistry {
  readonly #url: string

  constructor(url: string) {
    this.#url = url
  }

  /** Makes a reference pullable, or moves it, as the stand-in's registry does. Resolves with its digest. */
  async push(reference: string, spec: Pick<ImageSpec, 'log' | 'shell'> = {}): Promise<string> {
    const words = (spec.log ?? []).map(line => `echo '${line}'`).join('; ')
    const run = words === '' ? {} : { Cmd: ['sh', '-c', `${words}; exec sleep 100000`] }
    const base = words === '' && spec.shell !== true ? 'registry.k8s.io/pause:3.9' : 'busybox:1.36'
    const { config, layer } = await this.#pull(base)
    // Its build is its own, so that its digest is.
    return this.put(reference, layer, { ...config, ...run, Labels: { build: randomUUID() } })
  }

  async put(reference: string, layer: Layer, config: Record<string, unknown>): Promise<string> {
    const { repository, tag } = placed(reference)
    const blob = await this.#blob(repository, layer.blob, LAYER)
    const image = {
      architecture: 'amd64',
      os: 'linux',
      config,
      rootfs: { type: 'layers', diff_ids: [layer.diffId] },
      history: [{ created: '2024-01-01T00:00:00Z', created_by: 'tests' }],
    }
    const described = await this.#blob(repository, Buffer.from(JSON.stringify(image)), CONFIG)
    const manifest = { schemaVersion: 2, mediaType: MANIFEST, config: described, layers: [blob] }
    const body = JSON.stringify(manifest)
    await this.#ask('PUT', `${repository}/manifests/${tag}`, body, { 'content-type': MANIFEST })
    return digestOf(body)
  }

  async #pull(reference: string): Promise<{ config: Record<string, unknown>; layer: Layer }> {
    const { repository, tag } = placed(reference)
    const answer = await this.#ask('GET', `${repository}/manifests/${tag}`, undefined, { accept: MANIFEST })
    const manifest = (await answer.json()) as { config: Described; layers: [Described] }
    const config = (await (
      await this.#ask('GET', `${repository}/blobs/${manifest.config.digest}`)
    ).json()) as Config & {
      config: Record<string, unknown>
    }
    const blob = await this.#ask('GET', `${repository}/blobs/${manifest.layers[0].digest}`)
    const [diffId = ''] = config.rootfs.diff_ids
    return { config: config.config, layer: { blob: Buffer.from(await blob.arrayBuffer()), diffId } }
  }

  async #blob(repository: string, content: Buffer, mediaType: string): Promise<Described> {
    const digest = digestOf(content)
    const begun = await this.#ask('POST', `${repository}/blobs/uploads/`)
    const at = new URL(begun.headers.get('location') ?? '', this.#url)
    at.searchParams.set('digest', digest)
    await this.#ask('PUT', at, content, { 'content-type': 'application/octet-stream' })
    return { mediaType, size: content.length, digest }
  }

  async #ask(
    method: string,
    path: string | URL,
    body?: string | Buffer,
    headers: Record<string, string> = {},
  ): Promise<Response> {
    const url = typeof path === 'string' ? new URL(`/v2/${path}`, this.#url) : path
    const answer = await fetch(url, {
      method,
      headers,
      ...(body === undefined ? {} : { body: new Uint8Array(Buffer.from(body)) }),
    })
    if (!answer.ok) throw new Error(`${method} ${url.href}: ${answer.status} ${await answer.text()}`)
    return answer
  }
}

export function digestOf(content: string | Buffer): string {
  return `sha256:${createHash('sha256').update(content).digest('hex')}`
}

function placed(reference: string): { repository: string; tag: string } {
  const [, repository = '', tag = 'latest'] = /^[^/]+\/(.+):([^:]+)$/.exec(fullName(reference)) ?? []
  return { repository, tag }
}
