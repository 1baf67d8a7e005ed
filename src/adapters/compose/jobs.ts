import { parse } from 'yaml'
import { z } from 'zod'
import { composeFiles, type Host } from './host.ts'
import type { FileView, View } from './look.ts'

const condition = z.object({ condition: z.string().optional() }).nullable()
const document = z.object({
  services: z
    .record(
      z.string(),
      z.object({ depends_on: z.union([z.array(z.string()), z.record(z.string(), condition)]).nullish() }).nullable(),
    )
    .nullish(),
})

/** Services that run to their end, once, such as migrations: those whose end another service waits for. */
export function jobsOf(host: Host, files: readonly Pick<FileView, 'path' | 'content'>[]): ReadonlySet<string> {
  const named = composeFiles(
    host,
    files.map(f => f.path),
  )
  return new Set(files.filter(f => named.includes(f.path)).flatMap(f => awaited(f.content.toString('utf8'))))
}

function awaited(text: string): string[] {
  try {
    const services = document.safeParse(parse(text)).data?.services ?? {}
    return Object.values(services).flatMap(service => {
      const on = service?.depends_on ?? []
      if (Array.isArray(on)) return []
      return Object.keys(on).filter(name => on[name]?.condition === 'service_completed_successfully')
    })
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
