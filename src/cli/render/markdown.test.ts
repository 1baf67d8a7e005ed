import { describe, expect, it } from 'vitest'
import { markdownOf } from '../../report/markdown.ts'
import { buildReport } from '../../report/model.ts'
import { eventful } from '../../report/report.fixture.ts'
import { wide } from '../text.ts'
import { markdownLines } from './markdown.ts'

const TABLE = `| step | is | took | note |
| ---- | --- | --- | --- |
| db/migrate-down | done | 1 min | undo the migrations of the database, newest first |
| app/switch | done | 2 s |  |`

describe('a report at a terminal', () => {
  it('fits its tables, and leaves empty columns out', () => {
    expect(markdownLines(TABLE, 50)).toEqual([
      'step             is    took   note',
      'db/migrate-down  done  1 min  undo the migrations',
      '                              of the database,',
      '                              newest first',
      'app/switch       done  2 s',
    ])
    expect(markdownLines('| a | b | c |\n| --- | --- | --- |\n| x |  | y |', 80)).toEqual(['a  c', 'x  y'])
  })

  it('makes a list of each row where there is no room', () => {
    expect(markdownLines(TABLE, 26).slice(0, 4)).toEqual([
      'step: db/migrate-down',
      'is: done',
      'took: 1 min',
      'note: undo the migrations',
    ])
  })

  it('takes back what Markdown needed, and breaks at words', () => {
    expect(markdownLines('# A \\# head\n\n- one \\*star\\* &lt;b> and more', 16)).toEqual([
      'A # head',
      '',
      '- one *star* <b>',
      '  and more',
    ])
  })

  it('has a whole report within the width, and loses no word of it', () => {
    const text = markdownOf(buildReport(eventful()))
    for (const width of [50, 80, 120]) {
      const lines = markdownLines(text, width)
      const over = lines.filter(line => wide(line) > width && line.trim().includes(' '))
      expect(over.filter(line => line.split(' ').every(word => wide(word) < width - 4))).toEqual([])
    }
    const shown = markdownLines(text, 80).join(' ').replaceAll(/\s+/g, '')
    for (const word of ['14valuesoforders.discount', 'checkout|paystwice', 'SQLITE_BUSY:databaseislocked']) {
      expect(shown).toContain(word)
    }
  })
})
