import { describe, expect, it } from 'vitest'
import { shop } from '../../report/report.fixture.ts'
import { type Asked, askedLines } from './progress.ts'

const ASKED: Asked = {
  token: 't1',
  about: 'approval',
  step: null,
  title: null,
  why: 'db would be taken back by "restore"',
  answers: ['approve', 'stop'],
}

describe('what a run waits for', () => {
  it('shows the whole plan that wants an approval, with what it costs', () => {
    const text = askedLines(ASKED, shop(), 80).join('\n')
    expect(text).toContain('Plan for production: v1.3.0 -> v1.2.9')
    expect(text).toMatch(/Data lost +14 values of orders.discount/)
    expect(text.endsWith('  backout approve  allow it\n  backout abort    stop here, users left served or told')).toBe(
      true,
    )
  })

  it('names what can be answered by the command, and by the word for whoever sits at the question', () => {
    const asked: Asked = { ...ASKED, about: 'step', step: 'app/apply', answers: ['done', 'not-done', 'look', 'skip'] }
    expect(askedLines(asked, shop(), 80, true)).toEqual([
      'It was begun, and nothing can tell whether it took effect.',
      '  done      backout resolve app/apply --done      it took effect',
      '  not-done  backout resolve app/apply --not-done  it did not; apply it again',
      '  look      backout resolve app/apply --look      ask the target again',
      '  skip      backout skip app/apply --reason "…"   go on without it',
      '  abort     backout abort                         stop here, users left served',
      '                                                  or told',
    ])
  })

  it('says what the error that led here wants done', () => {
    const asked: Asked = {
      ...ASKED,
      about: 'failure',
      step: 'app/apply',
      next: 'free space on web-1',
      answers: ['retry'],
    }
    expect(askedLines(asked, shop(), 80)[0]).toBe('To be done first: free space on web-1')
  })
})
