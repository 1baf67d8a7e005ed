import { z } from 'zod'
import type { Sealed } from '../core/contract.ts'
import { BackoutError } from '../core/errors.ts'
import type { GateResult } from '../core/gate.ts'
import type { Json } from '../core/json.ts'
import type { Capture } from './releases.ts'

/**
 * An exported release: tar, compressed with zstd, encrypted with age. The manifest is the first entry; what follows is
 * release.json (captures, with their pins, and marks), vault/<id> for each sealed content that a pin refers to, and
 * backups/<component>/<id>/ with the files and the backup.json of each backup that a pin names.
 */
export const FORMAT = 1
export const MANIFEST = 'manifest.json'
export const RELEASE = 'release.json'

/** Characters that move a terminal's cursor or end a name early have no place in what others wrote. */
const line = () => z.string().regex(/^[^\0-\x08\x0b-\x1f\x7f]*$/, 'holds control characters')
const releaseName = () =>
  line()
    .regex(/^[^\s/\\][^\n]{0,127}$/)
    .refine(name => name !== '.' && name !== '..' && name.isWellFormed(), 'is no name')
const captureId = () => z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/)
const component = () => z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/)
const sha256 = () => z.string().regex(/^[0-9a-f]{64}$/)
const bytes = () => z.int().min(0)

/** A path inside a folder: nothing that leads out of it, whatever the system. */
function isInside(path: string): boolean {
  if (path.length > 1024 || /[\\\0-\x1f\x7f]/.test(path)) return false
  return path.split('/').every(part => part !== '' && part !== '.' && part !== '..' && part.length <= 255)
}

const NAMES = [/^release\.json$/, /^vault\/[0-9a-f]{32}$/, /^backups\/[^/]+\/[^/]+\/.+$/]
const entryName = () =>
  z.string().refine(name => isInside(name) && NAMES.some(n => n.test(name)), 'is no name of an entry')

export const manifestSchema = z.strictObject({
  format: z.literal(FORMAT),
  release: releaseName(),
  environment: line(),
  exportedAt: line(),
  exportedBy: line(),
  captures: z.array(captureId()).min(1),
  entries: z.array(z.strictObject({ name: entryName(), bytes: bytes(), sha256: sha256() })),
})
export type Manifest = z.infer<typeof manifestSchema>
export type Entry = Manifest['entries'][number]

const pinRecord = z.strictObject({
  adapter: line(),
  pinVersion: z.int(),
  identity: line(),
  summary: line(),
  pin: z.json(),
})

/** Loose: what a later capture of the same format says besides is kept. */
const capture = z.looseObject({
  format: z.literal(1),
  id: captureId(),
  release: releaseName(),
  environment: line(),
  purpose: z.enum(['release', 'departure']),
  at: z.iso.datetime(),
  by: line(),
  commit: line().nullable(),
  components: z.record(component(), pinRecord),
  missing: z.record(component(), z.string()).optional(),
  backups: z.array(captureId()),
  baseline: z.array(z.custom<GateResult>(value => typeof value === 'object' && value !== null)),
})

const mark = z.strictObject({
  state: z.enum(['captured', 'known-good', 'bad']),
  at: line(),
  by: line(),
  why: line().nullable(),
})

export const releaseSchema = z.strictObject({ captures: z.array(capture).min(1), marks: z.array(mark) })
export type ReleaseFile = z.infer<typeof releaseSchema>

export const backupSchema = z.strictObject({
  id: captureId(),
  component: component(),
  reason: z.enum(['capture', 'pre-rollback', 'migrated']),
  release: line().nullable(),
  idem: line().nullable(),
  createdAt: line(),
  bytes: bytes(),
  files: z.array(z.strictObject({ path: z.string().refine(isInside), bytes: bytes(), sha256: sha256() })),
  facts: z.json(),
  proof: z.strictObject({ at: line(), ms: z.number(), ok: z.boolean(), differences: z.array(line()) }).nullable(),
})

/** Every reference into the vault that stands in a capture's pins. */
export function sealedIn(captures: readonly Pick<Capture, 'components'>[]): Sealed[] {
  const found = new Map<string, Sealed>()
  const walk = (value: Json): void => {
    if (value === null || typeof value !== 'object') return
    const sealed = asSealed(value)
    if (sealed !== null) found.set(sealed.id, sealed)
    for (const inner of Object.values(value)) walk(inner)
  }
  for (const { components } of captures) for (const { pin } of Object.values(components)) walk(pin)
  return [...found.values()]
}

function asSealed(value: Json[] | { [key: string]: Json }): Sealed | null {
  if (Array.isArray(value)) return null
  const { id, mac } = value
  if (typeof id !== 'string' || typeof mac !== 'string') return null
  return /^[0-9a-f]{32}$/.test(id) && /^[0-9a-f]{64}$/.test(mac) ? { id, mac } : null
}

/** The same capture as another home would have made it: keyed hashes of its own wherever an old one stands in a pin. */
export function translated(capture: Capture, fresh: ReadonlyMap<string, string>): Capture {
  const walk = (value: Json): Json => {
    if (typeof value === 'string') return fresh.get(value) ?? value
    if (value === null || typeof value !== 'object') return value
    if (Array.isArray(value)) return value.map(walk)
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, walk(inner)]))
  }
  const components = Object.entries(capture.components).map(([id, c]) => [id, { ...c, pin: walk(c.pin) }])
  return { ...capture, components: Object.fromEntries(components) }
}

/** What is not as it was packed. Nothing of it was taken in. */
export function altered(file: string, cause: string, from?: unknown): BackoutError {
  return new BackoutError({
    code: 'package_altered',
    what: `${file} is not as it was exported, so nothing of it was taken in`,
    cause,
    next: 'copy it again from where it was exported; where it is the same there, export it again',
    exit: 'tampered',
    from,
  })
}
