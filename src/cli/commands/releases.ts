import { BackoutError, EXIT } from '../../core/errors.ts'
import { hashOf } from '../../core/json.ts'
import type { Capture } from '../../ledger/releases.ts'
import { isAltered } from '../../ledger/sealed-file.ts'
import { paint } from '../out.ts'
import type { Globals } from '../program.ts'
import { type Session, withSession } from '../session.ts'
import { bytes, table, wrap } from '../text.ts'
import { observeAll } from '../wiring/observe.ts'
import { markRelease } from './capture.ts'

export function releases(globals: Globals, options: { all?: boolean }): Promise<number> {
  return withSession(globals, async ({ environment, out }) => {
    const all = await environment.ledger.releases.list({ departures: options.all === true })
    out.data(
      all.map(({ captures, ...r }) => ({ ...r, captures: captures.map(c => ({ id: c.id, at: c.at, by: c.by })) })),
    )
    if (all.length === 0) out.line('Nothing was captured yet: backout capture RELEASE')
    const rows = all.map(r => [
      r.name,
      r.altered.length > 0 ? 'ALTERED' : r.state,
      r.captures[0]?.at ?? '',
      `${r.captures.length} captured`,
      r.marks.at(-1)?.why ?? '',
    ])
    for (const line of table(rows, out.width)) out.line(line)
    for (const r of all) for (const what of r.altered) out.warn(`${r.name} is not gone back to: ${what}`)
    return EXIT.ok
  })
}

export function show(globals: Globals, _options: unknown, name = ''): Promise<number> {
  return withSession(globals, async ({ environment, out }) => {
    const release = await environment.ledger.releases.get(name)
    const counting = await environment.ledger.releases.counting(release)
    out.data(release)
    out.line(`${paint('bold', release.name)}: ${release.state}`)
    for (const m of release.marks) out.line(`  ${m.at} ${m.state} by ${m.by}${m.why === null ? '' : `: ${m.why}`}`)
    for (const capture of release.captures) {
      out.line(
        `\ncapture ${capture.id}, ${capture.at} by ${capture.by}${capture.id === counting.id ? ' (the one that counts)' : ''}`,
      )
      const rows = Object.entries(capture.components).map(([id, c]) => [id, c.adapter, c.summary])
      for (const line of table(rows, out.width, '  ')) out.line(line)
      for (const gate of capture.baseline) out.line(`  baseline: gate ${gate.gate} ${gate.outcome}`)
      for (const id of capture.backups) out.line(`  ${await backupLine(environment.ledger.backups, id)}`)
    }
    return EXIT.ok
  })
}

async function backupLine(backups: Session['environment']['ledger']['backups'], id: string): Promise<string> {
  const backup = await backups.get(id).catch((error: unknown) => (isAltered(error) ? 'ALTERED' : 'GONE'))
  if (typeof backup === 'string') return `backup ${id}: ${backup}`
  const wrong = await backups.check(id)
  const proof = backup.proof === null ? 'unproven' : backup.proof.ok ? `proven ${backup.proof.at}` : 'its proof failed'
  return `backup ${id}: ${bytes(backup.bytes)}, ${wrong.length > 0 ? `ALTERED (${wrong.join('; ')})` : `intact, ${proof}`}`
}

export function compare(globals: Globals, _options: unknown, a = '', b = ''): Promise<number> {
  return withSession(globals, async session => {
    const [left, right] = [await side(session, a), await side(session, b)]
    const ids = [...new Set([...Object.keys(left), ...Object.keys(right)])]
    const rows = ids.map(id => ({
      component: id,
      same: left[id] !== undefined && right[id] !== undefined && left[id].key === right[id].key,
      a: left[id]?.summary ?? '-',
      b: right[id]?.summary ?? '-',
    }))
    session.out.data(rows)
    for (const row of rows) {
      session.out.line(`${row.same ? '  ' : paint('yellow', '* ')}${row.component}`)
      if (row.same) continue
      for (const line of wrap(`${a}: ${row.a}`, session.out.width, '    ')) session.out.line(line)
      for (const line of wrap(`${b}: ${row.b}`, session.out.width, '    ')) session.out.line(line)
    }
    return EXIT.ok
  })
}

interface Side {
  readonly key: string
  readonly summary: string
}

/** One side of a comparison: pins of a release, or of what runs now, brought to a form without backups' ids. */
async function side(session: Session, name: string): Promise<Record<string, Side>> {
  const { environment, targets } = session
  if (name !== 'now') {
    const { releases: ledger } = environment.ledger
    const capture = await ledger.counting(await ledger.get(name))
    return Object.fromEntries(
      Object.entries(capture.components).map(([id, c]) => [id, keyOf(c.pin, c.summary, capture)]),
    )
  }
  const signal = new AbortController().signal
  const { observations } = await observeAll(environment, targets, signal)
  const pins = [...observations].map(async ([id, observed]): Promise<[string, Side]> => {
    const { vault, backups } = environment.ledger
    const act = { purpose: 'departure' as const, release: 'now', signal, vault, backups, progress: () => {} }
    const pin = await (await targets.get(id)).capture(observed, act)
    return [id, keyOf(pin, observed.summary, null)]
  })
  return Object.fromEntries(await Promise.all(pins))
}

function keyOf(pin: unknown, summary: string, capture: Capture | null): Side {
  let text = JSON.stringify(pin) ?? ''
  for (const id of capture?.backups ?? []) text = text.replaceAll(`"${id}"`, 'null')
  return { key: hashOf(JSON.parse(text)), summary }
}

export function mark(globals: Globals, options: { why?: string }, name = '', state = ''): Promise<number> {
  const known = ['captured', 'known-good', 'bad'] as const
  const wanted = known.find(k => k === state)
  if (wanted === undefined) {
    const next = `use one of ${known.join(', ')}`
    throw new BackoutError({ code: 'state_unknown', what: `"${state}" is no state of a release`, next, exit: 'usage' })
  }
  return withSession(globals, async session => {
    session.out.data({ release: name, ...(await markRelease(session, name, wanted, options.why ?? null)) })
    return EXIT.ok
  })
}
