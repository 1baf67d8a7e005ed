import { parse } from 'yaml'
import { z } from 'zod'
import { composeFiles, type Host } from './host.ts'
import type { FileView, View } from './look.ts'

const condition = z.object({ condition: z.string().optional() }).nullable()
const document = z.object({
  include: z.unknown().optional(),
  services: z
    .record(
      z.string(),
      z.object({ depends_on: z.union([z.array(z.string()), z.record(z.string(), condition)]).nullish() }).nullable(),
    )
    .nullish(),
})

type Files = readonly Pick<FileView, 'path' | 'content'>[]
type Document = z.infer<typeof document>

/** Services that run to their end, once, such as migrations: those whose end another service waits for. */
export function jobsOf(host: Host, files: Files): ReadonlySet<string> {
  return new Set(documents(host, files).flatMap(awaited))
}

function awaited({ services }: Document): string[] {
  return Object.values(services ?? {}).flatMap(service => {
    const on = service?.depends_on ?? []
    if (Array.isArray(on)) return []
    return Object.keys(on).filter(name => on[name]?.condition === 'service_completed_successfully')
  })
}

/** Tells whether files have a service. What included ones have is not known: it may be there. */
export function definedBy(host: Host, files: Files): (service: string) => boolean {
  const docs = documents(host, files)
  return name => docs.some(({ include, services }) => include != null || Object.hasOwn(services ?? {}, name))
}

function documents(host: Host, files: Files): Document[] {
  const named = composeFiles(
    host,
    files.map(f => f.path),
  )
  return files.filter(f => named.includes(f.path)).flatMap(f => documentOf(f.content.toString('utf8')))
}

function documentOf(text: string): Document[] {
  try {
    const { data } = document.safeParse(parse(text))
    return data === undefined ? [] : [data]
  } catch {
    // What is no YAML Compose will say, with more words.
    return []
  }
}

/** The project without its jobs: what can be gone back to. */
export function withoutJobs(host: Host, view: View): View {
  const jobs = jobsOf(host, view.files)
  return { ...view, containers: view.containers.filter(c => !jobs.has(c.service)) }
}
