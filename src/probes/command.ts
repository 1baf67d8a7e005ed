import { resolve } from 'node:path'
import type { ExecResult } from '../core/contract.ts'
import { messageOf } from '../core/errors.ts'
import { redact } from '../core/secret.ts'
import { parsed } from '../exec/pointer.ts'
import { lastLines, runUser } from '../exec/words.ts'
import type { CommandProbe } from './config.ts'
import { mismatches, single } from './expect.ts'
import { type Found, failed, noData, passed } from './sample.ts'

/** Exit codes by which a shell says that it found no such program, or may not run it. */
const NOT_STARTED = new Set([126, 127])

/** Runs a command and holds its exit code and output against what is expected. */
export async function measureCommand(config: CommandProbe, baseDir: string, signal: AbortSignal): Promise<Found> {
  const cwd = resolve(baseDir, config.cwd ?? '.')
  const { run: argv, env, timeout: limitMs } = config
  try {
    return look(config, await runUser({ argv, env, cwd, limitMs, keepBytes: 1 << 20 }, signal))
  } catch (error) {
    if (signal.aborted) throw error
    return noData(redact(messageOf(error)))
  }
}

function look({ expect, inconclusive }: CommandProbe, { code, stdout, stderr }: ExecResult): Found {
  const said = lastLines(stderr.trim() === '' ? stdout : stderr, 200)
  const why = said === '' ? '' : `: ${said}`
  const wants = Array.isArray(expect.exit) ? expect.exit : [expect.exit]
  if (!wants.includes(code)) {
    if (inconclusive.includes(code)) return noData(`exit ${code}, which means that it could not measure${why}`)
    if (NOT_STARTED.has(code)) return noData(`could not be started (exit ${code})${why}`)
    return failed(`exit ${code}, not ${wants.join(' or ')}${why}`, code)
  }
  if (expect.stdoutMatches !== undefined && !new RegExp(expect.stdoutMatches, 'm').test(stdout)) {
    return failed(`exit ${code}, but /${expect.stdoutMatches}/ does not match the output`, code)
  }
  if (expect.json === undefined) return passed(`exit ${code}`, code)
  const doc = parsed(stdout)
  if (doc === undefined) return failed(`exit ${code}, but the output is no JSON`, code)
  const wrong = mismatches(doc, expect.json)
  const value = single(doc, expect.json) ?? code
  return wrong === null ? passed(`exit ${code}, output as expected`, value) : failed(wrong, value)
}
