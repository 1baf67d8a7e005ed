import { resolve } from 'node:path'
import { redact, reveal } from '../core/secret.ts'
import { type HttpAnswer, HttpError, http, shownUrl } from '../exec/http.ts'
import { parsed } from '../exec/pointer.ts'
import type { HttpProbe } from './config.ts'
import { mismatches, single } from './expect.ts'
import { type Found, failed, noData, passed } from './sample.ts'

/** One request: `ms` is null where no answer came. */
interface Shot extends Found {
  readonly ms: number | null
}

/** Asks an HTTP endpoint, once or many times, within the concurrency that is set. */
export async function measureHttp(config: HttpProbe, baseDir: string, signal: AbortSignal): Promise<Found> {
  const shots: Shot[] = []
  let left = config.samples
  const worker = async () => {
    while (left-- > 0) shots.push(await shoot(config, baseDir, signal))
  }
  const workers = Math.min(config.concurrency, config.samples)
  await Promise.all(Array.from({ length: workers }, worker))
  const found = judge(config, shots)
  return { ...found, text: redact(`${config.method} ${shownUrl(config.url)}: ${found.text}`) }
}

async function shoot(config: HttpProbe, baseDir: string, signal: AbortSignal): Promise<Shot> {
  const { url, method, headers, body, follow } = config
  const ca = config.ca === undefined ? undefined : resolve(baseDir, config.ca)
  const sent = body === undefined ? {} : { body: reveal(body) }
  try {
    const answer = await http({ url, method, headers, ...sent, limitMs: config.timeout, follow, ca }, signal)
    return { ...look(config, answer), ms: answer.ms }
  } catch (error) {
    if (!(error instanceof HttpError)) throw error
    return { ...(error.fault === 'refused' ? failed(error.message) : noData(error.message)), ms: null }
  }
}

/** Whether one answer is as expected. */
function look({ expect }: HttpProbe, answer: HttpAnswer): Found {
  const { status, body, cut } = answer
  const wants = Array.isArray(expect.status) ? expect.status : [expect.status]
  if (!wants.some(want => fits(status, want))) return failed(`status ${status}, not ${wants.join(' or ')}`, status)
  const long = cut ? ' (only the first MiB of the body was read)' : ''
  if (expect.bodyContains !== undefined && !body.includes(reveal(expect.bodyContains))) {
    return failed(`status ${status}, but the body does not hold the text expected${long}`, status)
  }
  if (expect.bodyMatches !== undefined && !new RegExp(expect.bodyMatches).test(body)) {
    return failed(`status ${status}, but /${expect.bodyMatches}/ does not match the body${long}`, status)
  }
  if (expect.json === undefined) return passed(`status ${status}`, status)
  const doc = parsed(body)
  if (doc === undefined) return failed(`status ${status}, but the body is no JSON${long}`, status)
  const wrong = mismatches(doc, expect.json)
  const value = single(doc, expect.json) ?? status
  return wrong === null ? passed(`status ${status}, content as expected`, value) : failed(wrong, value)
}

function fits(status: number, want: number | string): boolean {
  if (typeof want === 'number') return status === want
  if (want.endsWith('xx')) return Math.floor(status / 100) === Number(want[0])
  const [low, high] = want.split('-').map(Number)
  return status >= (low ?? 0) && status <= (high ?? 0)
}

/** Failures count first, then missing data, then times: what is missing never makes the rest look better. */
function judge(config: HttpProbe, shots: readonly Shot[]): Found {
  const [first] = shots
  if (first !== undefined && shots.length === 1 && config.latency === undefined && first.ok !== false) return first
  const bad = shots.filter(shot => shot.ok === false)
  const missing = shots.filter(shot => shot.ok === null)
  const asked = shots.length - missing.length
  const figures = figuresOf(shots, bad.length, asked)
  const value = config.latency === undefined ? (shots.at(-1)?.value ?? null) : (figures['p95'] ?? null)
  if (asked > 0 && bad.length / asked > config.errorRate) {
    const many = shots.length === 1 ? '' : `${bad.length} of ${asked} requests failed: `
    return { ...failed(`${many}${bad[0]?.text}`, value), figures }
  }
  if (missing.length > 0)
    return { ...noData(`${missing.length} of ${shots.length} requests: ${missing[0]?.text}`), figures }
  const slow = tooSlow(config, figures)
  if (slow !== null) return { ...failed(slow, value), figures }
  return { ...passed(summary(shots.length, bad.length, figures), value), figures }
}

function figuresOf(shots: readonly Shot[], bad: number, asked: number): Record<string, number> {
  const times = shots.flatMap(shot => (shot.ms === null ? [] : [shot.ms])).sort((a, b) => a - b)
  const rate = asked === 0 ? {} : { errorRate: Math.round((bad / asked) * 10_000) / 10_000 }
  if (times.length === 0) return { requests: shots.length, ...rate }
  const [p50, p95, p99, max] = [50, 95, 99, 100].map(p => Math.ceil(percentile(times, p) * 10) / 10)
  return { requests: shots.length, ...rate, p50: p50 ?? 0, p95: p95 ?? 0, p99: p99 ?? 0, max: max ?? 0 }
}

/** Nearest rank: the smallest of the times that at least `p` percent do not exceed. `sorted` is not empty. */
export function percentile(sorted: readonly number[], p: number): number {
  const rank = Math.max(1, Math.ceil((p / 100) * sorted.length))
  return sorted[rank - 1] ?? Number.NaN
}

function tooSlow(config: HttpProbe, figures: Readonly<Record<string, number>>): string | null {
  for (const [name, limit] of Object.entries(config.latency ?? {})) {
    const took = figures[name]
    if (took === undefined) return 'no request was answered, so there are no times'
    if (limit !== undefined && took > limit) return `${name} is ${took} ms, above ${limit} ms`
  }
  return null
}

function summary(requests: number, bad: number, figures: Readonly<Record<string, number>>): string {
  const failures = bad === 0 ? '' : `, ${bad} failed`
  return `${requests} requests${failures}, p50 ${figures['p50']} ms, p95 ${figures['p95']} ms, p99 ${figures['p99']} ms`
}
