import { describe, expect, it } from 'vitest'
import { plainView } from './view-text.ts'

describe('A4: the text of a view, whatever version wrote it', () => {
  it.each([
    ['SELECT book.id, book.title FROM book WHERE (book.id < 2000);', 'SELECT id, title FROM book WHERE (id < 2000);'],
    ['SELECT b.id FROM sales.book b ORDER BY b.id;', 'SELECT id FROM sales.book b ORDER BY id;'],
    [
      'SELECT "B".id FROM sales."B" WHERE ("B".t = \'"B".t\'::text);',
      'SELECT id FROM sales."B" WHERE (t = \'"B".t\'::text);',
    ],
    [
      'SELECT a.n, (SELECT max(a.x) FROM a, b) AS m FROM a GROUP BY a.n;',
      'SELECT n, (SELECT max(a.x) FROM a, b) AS m FROM a GROUP BY n;',
    ],
    ['WITH w AS (SELECT a.n FROM a) SELECT w.n FROM w;', 'WITH w AS (SELECT a.n FROM a) SELECT n FROM w;'],
    ['SELECT s.n FROM (SELECT 1 AS n) s;', 'SELECT n FROM (SELECT 1 AS n) s;'],
    ['SELECT count(a.n) FILTER (WHERE a.n > 1) AS c FROM a;', 'SELECT count(n) FILTER (WHERE n > 1) AS c FROM a;'],
  ])('%s', (early, late) => {
    expect(plainView(early)).toBe(late)
    expect(plainView(late)).toBe(late)
  })

  it.each([
    'SELECT a.x, b.y FROM a, b;',
    'SELECT a.x FROM (a JOIN b ON ((a.id = b.id)));',
    'SELECT a.x FROM a UNION SELECT b.x FROM b;',
    'SELECT a.*::a AS whole FROM a;',
    "SELECT 'x'::a.kind AS k FROM a;",
    'SELECT a.f(1) AS k FROM a;',
    'SELECT 1 AS x;',
    'sql security definer as select `a`.`x` AS `x` from `a`',
  ])('leaves what says something: %s', text => {
    expect(plainView(text)).toBe(text)
  })
})
