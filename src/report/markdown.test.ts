import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Step } from '../core/contract.ts'
import { toJson } from '../core/json.ts'
import { markdownOf } from './markdown.ts'
import { buildReport } from './model.ts'
import { eventful, Story, shop } from './report.fixture.ts'
import { md, offset, table, time } from './text.ts'

describe('E3: the report as Markdown', () => {
  it('reads as it did', async () => {
    await expect(markdownOf(buildReport(eventful()))).toMatchFileSnapshot(join(import.meta.dirname, 'report.golden.md'))
  })

  it('begins with a title and five lines', () => {
    const lines = markdownOf(buildReport(eventful())).split('\n')
    expect(lines[0]).toBe('# Rollback of production: v1.3.0 → v1.2.9')
    expect(lines.slice(1, 8).map(l => l.startsWith('- '))).toEqual([false, true, true, true, true, true, false])
  })

  it('says of an emergency that it was one, and what it left out', () => {
    const text = markdownOf(
      buildReport(new Story().tell(0, 'run-started').input('running', {}, shop({ mode: 'emergency' }))),
    )
    expect(text).toContain('# Rollback of production: v1.3.0 → v1.2.9 (emergency)')
    expect(text).toMatch(/is being taken back\*\* from v1.3.0 to v1.2.9 as an emergency/)
    expect(text).toMatch(/\| Left out +\| nothing/)
    const omitted = shop({ mode: 'emergency', omitted: ['the watch of 1 h after the return'] })
    const other = markdownOf(buildReport(new Story().tell(0, 'run-started').input('running', {}, omitted)))
    expect(other).toMatch(/\| Left out +\| left out +\| the watch of 1 h after the return \|/)
  })

  it('names no release that is not known, and a departure by its run', () => {
    const unknown = { from: null, to: { release: 'departure-r0', capture: 'c1' } }
    const lines = markdownOf(buildReport(new Story().tell(0, 'run-started').input('running', {}, shop(unknown)))).split(
      '\n',
    )
    expect(lines[0]).toBe('# Rollback of production: to departure-r0')
    expect(lines[2]).toContain('to where run r0 had begun (departure-r0)')
    expect(lines.slice(0, 8).join('\n')).not.toMatch(/\?|not known to/)
  })

  it('says what became of each component, over all plans that were followed', () => {
    const first = shop()
    const next = shop({
      hash: 'plan-2',
      parent: 'plan-1',
      components: first.components.map(c => (c.id === 'app' ? { ...c, change: null } : { ...c, rung: 'restore' })),
      steps: { ...first.steps, 'db/restore': { ...(first.steps['db/down'] as Step), id: 'db/restore' } },
      phases: [{ phase: 'data', node: { step: 'db/restore' }, estimateMs: 1 }],
    })
    const input = new Story()
      .tell(0, 'run-started')
      .tell(1, 'phase-begun', { phase: 'code', plan: 'plan-1', estimateMs: 1 })
      .step(1, 2, 'app/switch')
      .tell(3, 'plan-successor', { next: toJson(next), exclude: [] })
      .tell(4, 'phase-begun', { phase: 'data', plan: 'plan-2', estimateMs: 1 })
      .tell(4, 'step-begun', { step: 'db/restore', title: 'restore', estimateMs: 1 })
      .input('running', {}, first)
    expect(buildReport(input).components).toEqual([
      { component: 'db', from: 'v1.3.0', to: 'v1.2.9', rung: 'restore', is: 'partly done' },
      { component: 'app', from: 'v1.3.0', to: 'v1.2.9', rung: 'switch', is: 'done' },
    ])
  })

  it('keeps every table whole, whatever the texts hold', () => {
    const nasty = 'a|b\nc | d <script>alert(1)</script> \u001b[31m[x](javascript:y) `z`'
    const input = new Story()
      .outside(-1, 'marked', { release: nasty, state: 'bad', by: nasty, why: nasty })
      .tell(0, 'run-started', { pid: 1 })
      .tell(1, 'phase-begun', { phase: nasty, plan: 'plan-1', estimateMs: 1 })
      .tell(1, 'step-begun', { step: 'app/switch', title: nasty, estimateMs: 1 })
      .tell(2, 'step-failed', { step: 'app/switch', why: nasty, ms: 1 })
      .gate(3, 'fail', nasty, nasty)
      .tell(4, 'run-ended', { state: 'failed', error: nasty })
      .input('failed', { error: nasty }, shop({ environment: nasty }))
    const text = markdownOf(buildReport(input))
    expect(text).not.toContain('<script')
    expect(text).not.toContain('\u001b')
    expect(text).not.toMatch(/[^\\]\[x\]\(/)
    const cells = (line: string) => line.replaceAll('\\|', '').split('|').length
    const lines = text.split('\n')
    for (const [i, line] of lines.entries()) {
      const above = lines[i - 1] ?? ''
      if (line.startsWith('|') && above.startsWith('|')) expect(cells(line)).toBe(cells(above))
    }
  })

  it.each<[string, string]>([
    ['plain snake_case v1.2.9', 'plain snake_case v1.2.9'],
    ['_all_ *of* it', '\\_all\\_ \\*of\\* it'],
    ['# head', '\\# head'],
    ['1. one', '1\\. one'],
    ['> quote -> on', '&gt; quote -> on'],
    ['- item', '\\- item'],
    ['C:\\dir \\*', 'C:\\dir \\\\\\*'],
    ['&lt;b&gt; & so', '&amp;lt;b&amp;gt; & so'],
    ['two\r\n  lines\n', 'two / lines'],
    ['\u202eevil\u0007', 'evil'],
  ])('escapes %j', (text, escaped) => {
    expect(md(text)).toBe(escaped)
  })

  it('lines tables up, wide characters too', () => {
    expect(
      table(
        ['a', 'b'],
        [
          ['长安', 'x'],
          ['ab', 'y'],
        ],
      ),
    ).toEqual(['| a    | b |', '| ---- | --- |', '| 长安 | x |', '| ab   | y |'])
  })

  it('shows times in UTC without fractions, offsets with a sign, and what is no time as it is', () => {
    expect([time('2026-01-02T03:04:05.678Z'), time('soon'), time(null)]).toEqual([
      '2026-01-02T03:04:05Z',
      'soon',
      'not yet',
    ])
    expect([offset(63_000), offset(-90_061_000), offset(0)]).toEqual(['+0:01:03', '-25:01:01', '+0:00:00'])
  })
})
