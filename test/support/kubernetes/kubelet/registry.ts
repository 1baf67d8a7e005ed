import { createHash } from 'node:crypto'

/** What an image does when it runs, as far as a cluster can tell. */
export interface ImageSpec {
  /** Left out: derived from the reference. */
  digest?: string
  /** Ports that something in it listens on once it is up: HTTP and TCP probes of any other port fail. */
  listens?: readonly number[]
  /** How long after its start it listens. */
  readyAfterMs?: number
  /** It ends by itself, with this code. Left out: it runs until it is stopped. */
  exits?: { code: number; afterMs?: number }
  /** What it writes, a line each. */
  log?: readonly string[]
  /** It has a shell and the usual tools: a container's command is really run. */
  shell?: boolean
  /** How long it takes to end after SIGTERM. Left out: at once. */
  endsAfterMs?: number
  pullMs?: number
}

export interface Image extends ImageSpec {
  readonly digest: string
}

const DIGESTS = /@(sha256:[0-9a-f]{64})$/

/** A container registry: tags that can be moved, and contents by digest. */
export class Registry {
  readonly #tags = new Map<string, string>()
  readonly #contents = new Map<string, Image>()

  constructor() {
    for (const tag of ['3.8', '3.9', '3.10']) this.push(`registry.k8s.io/pause:${tag}`)
    for (const tag of ['1.35', '1.36', '1.37', 'latest']) this.push(`busybox:${tag}`, { shell: true })
  }

  /** Makes a reference pullable. Answers its digest. Pushing an existing tag moves it. */
  push(reference: string, spec: ImageSpec = {}): string {
    const full = fullName(reference)
    const digest = spec.digest ?? digestOf(full, this.#tags.has(full) ? spec : {})
    this.#contents.set(`${repository(full)}@${digest}`, { ...spec, digest })
    this.#tags.set(full, digest)
    return digest
  }

  /** Makes a tag mean another, existing content of its repository. */
  move(reference: string, digest: string): void {
    const full = fullName(reference)
    if (!this.#contents.has(`${repository(full)}@${digest}`)) throw new Error(`${repository(full)} has no ${digest}`)
    this.#tags.set(full, digest)
  }

  /** Deletes a tag, as a clean-up of the registry does; with `contents`, what it meant too. */
  delete(reference: string, o: { contents?: boolean } = {}): void {
    const full = fullName(reference)
    const digest = this.#tags.get(full)
    this.#tags.delete(full)
    if (o.contents === true) this.#contents.delete(`${repository(full)}@${digest}`)
  }

  resolve(reference: string): Image | undefined {
    const full = fullName(reference)
    const pinned = DIGESTS.exec(full)?.[1]
    const digest = pinned ?? this.#tags.get(full)
    return digest === undefined ? undefined : this.#contents.get(`${repository(full)}@${digest}`)
  }
}

/** As containerd writes it: `busybox` is docker.io/library/busybox:latest. */
export function fullName(reference: string): string {
  const [name = '', ...rest] = reference.split('@')
  const first = name.split('/')[0] ?? ''
  const hosted = name.includes('/') && (/[.:]/.test(first) || first === 'localhost')
  const placed = hosted ? name : name.includes('/') ? `docker.io/${name}` : `docker.io/library/${name}`
  const tagged = rest.length > 0 || /:[^/]+$/.test(placed) ? placed : `${placed}:latest`
  return [tagged, ...rest].join('@')
}

export function repository(full: string): string {
  return full.replace(/@.*$/, '').replace(/:[^/:]+$/, '')
}

function digestOf(full: string, spec: ImageSpec): string {
  return `sha256:${createHash('sha256')
    .update(JSON.stringify([full, spec]))
    .digest('hex')}`
}
