import type { Step } from '../../core/contract.ts'
import { hashOf, toJson } from '../../core/json.ts'
import type { DownArgs } from './down.ts'
import type { Live } from './level.ts'
import { isEarlier, type Kept, keptIn, nameOfBook } from './levels.ts'
import type { Level } from './settings.ts'
import type { Look } from './steps.ts'
import type { Undo } from './undoing.ts'

/** One step for each migration, which knows what is applied before it, in its own bookkeeping and in the others. */
export function downSteps({ site, question: { to } }: Look, live: Live, undos: readonly Undo[]): Step[] {
  const { component } = site.ctx
  let standing = keptIn(live.level)
  return undos.map((undo, i) => {
    const { migration, gap, book, way } = undo
    const before = standing.find(k => k.table === gap.table)?.applied ?? []
    const beside = besideHash(standing, gap.table)
    standing = standing.map(k => (k.table === gap.table ? { ...k, applied: afterUndoing(undo, k.applied) } : k))
    const after = before.filter(name => name !== migration)
    const args: DownArgs = {
      migration,
      before: [...before],
      level: (gap.headOnly ? gap.then.at(-1) : after.at(-1)) ?? '',
      release: [...gap.then],
      schema: to.schema,
      first: i === 0,
      last: i === undos.length - 1,
      backup: to.backup,
      book: {
        tool: gap.tool,
        table: gap.table,
        schema: book?.schema ?? '',
        headOnly: gap.headOnly,
        also: way.also,
        beside,
      },
      ...(isEarlier(to.level) ? { than: to.level } : {}),
    }
    const own = gap.table === live.level.table
    return {
      id: [component, 'migrate-down', ...(own ? [] : [gap.table]), migration].join('/'),
      component,
      title: `undo migration ${migration}${live.books.length > 1 ? ` of ${nameOfBook(gap, true)}` : ''}`,
      args: toJson(args),
      limitMs: site.settings.migrations.downLimit + 30_000,
      retries: 0,
      estimateMs: 5_000,
      onUnknown: 'ask',
      destructive: true,
      recheck: true,
    }
  })
}

/** Of a tool that keeps its head only, one step leads to where the release stood. */
function afterUndoing({ migration, gap }: Undo, applied: readonly string[]): readonly string[] {
  return gap.headOnly ? gap.then : applied.filter(name => name !== migration)
}

/** What all other bookkeepings say: whatever undoes in one must leave them alone. */
export function besideHash(kept: readonly Kept[], table: string | null): string {
  const others = kept.filter(k => k.table !== table).map(k => [k.table, k.applied.toSorted()] as const)
  return hashOf(others.toSorted(([a], [b]) => ((a ?? '') < (b ?? '') ? -1 : 1)))
}

/** What is applied in the bookkeeping of a step. Steps of earlier versions mean the first one. */
export function appliedIn({ book }: Pick<DownArgs, 'book'>, level: Level): readonly string[] {
  if (book === undefined) return level.applied
  return keptIn(level).find(k => k.table === book.table)?.applied ?? []
}
