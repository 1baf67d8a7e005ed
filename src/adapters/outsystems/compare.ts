import { byText } from '../../core/order.ts'
import type { Application, Applications } from './pin.ts'
import { hashOfModule, shown } from './running.ts'
import type { Site } from './site.ts'

/** An application that is not as it was captured. */
export interface Difference {
  readonly key: string
  readonly to: Application
  /** Null: it is not there any more. */
  readonly now: Application | null
  /** One line an application or module, for people. */
  readonly why: readonly string[]
}

/** What differs from what was captured, by application and module. Applications that came since are not in it. */
export async function differences(
  site: Site,
  now: Applications,
  pinned: Applications,
  signal: AbortSignal,
): Promise<Difference[]> {
  const out: Difference[] = []
  for (const [key, to] of Object.entries(pinned)) {
    const at = now[key] ?? null
    const why = at === null ? [`${to.name} is not there`] : await whyDifferent(site, at, to, signal)
    if (why.length > 0) out.push({ key, to, now: at, why })
  }
  return out.toSorted((a, b) => byText(a.to.name, b.to.name))
}

/**
 * What runs is the modules. A tag is only a name for them: one that was tagged anew, or that LifeTime takes for modified after a
 * package was published, is the same where its modules are.
 */
async function whyDifferent(site: Site, now: Application, to: Application, signal: AbortSignal): Promise<string[]> {
  const why = await differentModules(site, now, to, signal)
  if (to.zone !== '' && now.zone !== to.zone) why.push(`${to.name} runs in another deployment zone`)
  const named = now.version === to.version && now.modified === to.modified
  if (named || (why.length === 0 && Object.keys(to.modules).length > 0)) return why
  return [`${shown(now)} runs, not ${shown(to)}`, ...why]
}

/** Modules are the same where their versions are, or where LifeTime's hash says that the versions do the same. */
async function differentModules(site: Site, now: Application, to: Application, signal: AbortSignal): Promise<string[]> {
  const out: string[] = []
  for (const [key, { name, version, hash }] of Object.entries(to.modules)) {
    const at = now.modules[key]
    if (at?.version === version) continue
    if (at === undefined) out.push(`${to.name}: the module ${name} is not there`)
    else if (hash === null || (await hashOfModule(site, key, at.version, signal)) !== hash) {
      out.push(`${to.name}: the module ${name} has another version`)
    }
  }
  for (const [key, { name }] of Object.entries(now.modules)) {
    if (to.modules[key] === undefined) out.push(`${to.name}: the module ${name} was not there`)
  }
  return out
}
