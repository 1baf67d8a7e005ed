import { parse } from 'yaml'
import { z } from 'zod'
import type { Finding, Readiness } from '../../core/contract.ts'
import { composeFiles, composeOf, type Host, said } from './host.ts'
import { look } from './look.ts'
import { saysOutdated } from './outdated.ts'

const path = z.union([z.string(), z.object({ path: z.string() })])
const paths = z.union([path, z.array(path)]).nullish()
const document = z.object({
  include: z.unknown().optional(),
  services: z
    .record(
      z.string(),
      z
        .object({
          env_file: paths,
          extends: z.union([z.string(), z.object({ file: z.string().optional() })]).nullish(),
        })
        .nullable(),
    )
    .nullish(),
})

/** Which Compose there is, and which files the project reads that no capture would hold. */
export async function ready(host: Host, signal: AbortSignal): Promise<Readiness> {
  const words = await composeOf(host, signal)
  const version = await said(host, 'compose version', { argv: [...words, 'version'] }, signal)
  const view = await look(host, signal)
  const files = composeFiles(
    host,
    view.files.map(f => f.path),
  )
  const captured = new Set(view.files.map(f => f.path))
  const missed = view.files
    .filter(f => files.includes(f.path))
    .flatMap(f => readBy(f.content.toString('utf8')))
    .filter(name => !captured.has(name.replace(/^\.\//, '')))
  const findings = [...new Set(missed)].map((name): Finding => {
    const what = `${host.component}: the project reads ${name}, which is not captured: going back leaves it as it is then`
    const remedy = 'name it in `also` (variables) or `files` (Compose files), if it changes with releases'
    return { level: 'warning', code: 'file_not_captured', component: host.component, what, remedy }
  })
  const { component } = host
  await saysOutdated(host, signal, (_, code, what, remedy) => {
    findings.push({ level: 'blocker', code, component, what: `${component}: ${what}`, remedy })
  })
  return { well: [`${version.split('\n')[0]?.trim()} on ${host.config.host}`], findings }
}

function readBy(text: string): string[] {
  const doc = document.safeParse(parse(text))
  if (!doc.success) return []
  const named = Object.values(doc.data.services ?? {}).flatMap(service => {
    const env = [service?.env_file ?? []].flat().map(p => (typeof p === 'string' ? p : p.path))
    const base = typeof service?.extends === 'object' ? (service.extends?.file ?? []) : []
    return [...env, ...[base].flat()]
  })
  const included = [doc.data.include ?? []].flat().flatMap(entry => (typeof entry === 'string' ? [entry] : []))
  return [...named, ...included].filter(name => !name.includes('$'))
}
