import { resolve } from 'node:path'
import { BackoutError } from '../../core/errors.ts'
import { runUser, seenBy } from '../../exec/words.ts'
import type { Reader } from '../engine.ts'
import { type Live, readLive } from './level.ts'
import type { Level } from './settings.ts'
import type { Site } from './site.ts'

/** What begins so is no migration that could be named, and none that could be said to have been ended. */
export const UNTOLD = 'a migration that nobody can tell of'

/** What the database says of itself, and what the check of the settings sees under way. `than`: as for `readLive`. */
export async function readNow(site: Site, db: Reader, signal: AbortSignal, than?: Level): Promise<Live> {
  const [live, seen] = await Promise.all([readLive(site, db, than), seenByCheck(site, signal)])
  if (seen === null) return live
  return { ...live, running: [...live.running, seen], unfinished: [...live.unfinished, seen] }
}

async function seenByCheck({ ctx, engine, settings }: Site, signal: AbortSignal): Promise<string | null> {
  const { cwd, inFlight } = settings.migrations
  if (inFlight.check === undefined) return null
  const command = { argv: inFlight.check, env: engine.toolEnv(), cwd: resolve(ctx.baseDir, cwd) }
  try {
    const result = await runUser({ ...command, limitMs: inFlight.limit, idem: 'backout-look' }, signal)
    return seenBy(result, 'a migration', code => `${UNTOLD} (migrations.inFlight.check ended with ${code})`)
  } catch (error) {
    signal.throwIfAborted()
    if (!(error instanceof BackoutError)) throw error
    return `${UNTOLD} (${error.message})`
  }
}
