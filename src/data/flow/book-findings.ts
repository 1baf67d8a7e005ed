import type { Finding } from '../../core/contract.ts'
import type { Say } from './checks.ts'
import type { Live } from './level.ts'
import { type Kept, nameOfBook, saidUntold } from './levels.ts'
import type { Task, Undo } from './undoing.ts'

const ASSIGN =
  'name the one that `migrations.down` undoes in `migrations.table`, and the others with commands of their own in `migrations.also`, or let `down` use $BACKOUT_SCHEMA or $BACKOUT_TABLE'

/** What keeps from saying which migrations lie between, or which command undoes them. */
export function bookFindings(live: Live, tasks: readonly Task[], untold: readonly Kept[], say: Say): Finding[] {
  const unassigned = tasks.filter(t => t.way === null && t.gap.extra.length > 0)
  return [
    ...amissFindings(live, 'blocker', say),
    ...untold.map(kept => {
      const now = kept.applied.length === 0 ? 'nothing' : kept.applied.join(', ')
      const what = `${capital(saidUntold(kept))}; now it has applied ${now}`
      return say('blocker', 'bookkeeping_untold', what, 'undo by hand what came since, or take the rung `restore`')
    }),
    ...unassigned.map(({ gap }) => {
      const what = `${nameOfBook(gap, true)} applied ${gap.extra.toReversed().join(', ')} since, and the settings do not say which command undoes that`
      return say('blocker', 'bookkeeping_unassigned', what, `${ASSIGN}; or take the rung \`restore\``)
    }),
  ]
}

/** Bookkeeping that the settings name, and that nobody can read. */
export function amissFindings({ amiss }: Live, level: Finding['level'], say: Say): Finding[] {
  if (amiss.length === 0) return []
  const what = `The settings name bookkeeping of migrations that cannot be read: ${amiss.join('; ')}`
  return [say(level, 'bookkeeping_amiss', what, 'put `migrations.table` and `migrations.also` right')]
}

/** What the settings leave open as long as nothing is to be undone. */
export function openFindings(tasks: readonly Task[], say: Say): Finding[] {
  const open = tasks.filter(t => t.way === null)
  if (open.length === 0) return []
  const what = `Several bookkeepings of migrations are here, and nothing says which command undoes what ${open.map(t => nameOfBook(t.gap, true)).join(', ')} applied`
  return [say('warning', 'bookkeeping_unassigned', what, ASSIGN)]
}

export function guessedOrder(undos: readonly Undo[], say: Say): Finding {
  const names = [...new Set(undos.map(({ gap }) => nameOfBook(gap, true)))]
  const what = `When each migration was applied is not known of all bookkeepings, so they are undone one after the other: ${names.join(', then ')}`
  return say('warning', 'undo_order_guessed', what, 'see that no later one needs what an earlier one takes away')
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}
