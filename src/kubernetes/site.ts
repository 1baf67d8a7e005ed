import type { OpenContext } from '../core/contract.ts'
import { Client } from './api/client.ts'
import { openSession } from './api/session.ts'
import type { SiteConfig } from './settings.ts'

/** One component: where it is, and how it is reached. */
export interface Site {
  readonly config: SiteConfig
  readonly ctx: OpenContext
  readonly component: string
  readonly client: Client
  readonly namespace: string
}

/** Connects when it is first asked something: opening a component must not need its system. */
export interface Opening {
  (): Promise<Site>
  /** Lets go of connections, where there are any. */
  close(): Promise<void>
}

export function openSite(config: SiteConfig, ctx: OpenContext): Opening {
  let opened: Promise<Site> | null = null
  const open = () => {
    opened ??= connect(config, ctx).catch((error: unknown) => {
      opened = null
      throw error
    })
    return opened
  }
  const close = async () => {
    const site = await opened?.catch(() => null)
    await site?.client.session[Symbol.asyncDispose]()
  }
  return Object.assign(open, { close })
}

async function connect(config: SiteConfig, ctx: OpenContext): Promise<Site> {
  const session = await openSession({ kubeconfig: config.kubeconfig, context: config.context, baseDir: ctx.baseDir })
  const client = new Client(session, config.limits.api)
  return { config, ctx, component: ctx.component, client, namespace: config.namespace ?? session.namespace }
}

/** Does a piece of work for every item, no more than `limit` at the same time. */
export async function eachOf<T, R>(items: readonly T[], limit: number, work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = []
  const queue = items.entries()
  const worker = async () => {
    for (const [i, item] of queue) results[i] = await work(item)
  }
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker))
  return results
}
