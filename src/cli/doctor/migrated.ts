import type { Backup } from '../../core/contract.ts'
import { factsOf } from '../../data/flow/facts.ts'
import { toldLast } from '../../data/flow/untold.ts'
import type { Capture, Upgrade } from '../../ledger/releases.ts'
import { bytes } from '../text.ts'
import type { Environment } from '../wiring/environment.ts'
import { standingOf } from '../wiring/standing.ts'
import { type Check, saying } from './check.ts'

const say = saying('releases')

const MISSED = 'going back there could not tell what users wrote from what the migrations did'
const REMEDY =
  'bring it back from where copies are kept; else what differs is listed when data is carried forward, and a person says whose it is'

/** The backups of right after migrating with which a way back over these captures would compare: whole, and there at all. */
export async function migratedChecks(environment: Environment, captures: readonly Capture[]): Promise<Check[]> {
  const { releases, backups } = environment.ledger
  const { upgrades } = await standingOf(environment)
  const standing = (await releases.upgrades()).filter(u => upgrades.includes(u.id) && u.migratedAt !== null)
  const looked = new Map<string, Promise<Check[]>>()
  for (const capture of captures) {
    for (const id of capture.backups) {
      const base = await backups.get(id).catch(() => null)
      // Told by a check of its own.
      if (base === null) continue
      const all = await backups.list(base.component)
      for (const gone of goneOf(base, standing, all)) looked.set(gone.id, Promise.resolve([goneCheck(gone)]))
      const told = toldLast(all.filter(b => b.createdAt > base.createdAt && stands(b, standing)))
      if (told !== null && !looked.has(told.id)) looked.set(told.id, wholeCheck(environment, told))
    }
  }
  return (await Promise.all(looked.values())).flat()
}

/** Not of an upgrade that was taken back: the database is not as that left it any more. */
function stands(backup: Backup, standing: readonly Upgrade[]): boolean {
  return backup.reason !== 'migrated' || standing.some(u => u.id === factsOf(backup)?.upgrade)
}

interface Gone {
  readonly id: string
  readonly component: string
  readonly to: string
}

function goneOf({ component, createdAt }: Backup, standing: readonly Upgrade[], all: readonly Backup[]): Gone[] {
  return standing.flatMap(({ to, migratedAt, migratedBackups }) => {
    const id = migratedBackups?.[component]
    if (id === undefined || (migratedAt ?? '') < createdAt || all.some(b => b.id === id)) return []
    return [{ id, component, to }]
  })
}

function goneCheck({ id, component, to }: Gone): Check {
  const what = `the backup ${id} of ${component} right after migrating to ${to} is not there: ${MISSED}`
  return say('warning', 'migrated_missing', what, REMEDY, component)
}

async function wholeCheck({ ledger }: Environment, backup: Backup): Promise<Check[]> {
  const { id, component, release, proof } = backup
  const [of, to] = [`of ${component} right after migrating`, release === null ? '' : ` to ${release}`]
  const wrong = await ledger.backups.look(id)
  if (wrong.length > 0) {
    const what = `the backup ${id} ${of}${to} is not as it was made: ${wrong.slice(0, 3).join('; ')}; ${MISSED}`
    return [say('warning', 'migrated_altered', what, REMEDY, component)]
  }
  if (proof?.ok === false) {
    const what = `the backup ${id} ${of}${to} failed its proof: ${proof.differences.slice(0, 3).join('; ')}; ${MISSED}`
    return [say('warning', 'migrated_unproven', what, REMEDY, component)]
  }
  // Nobody waits for a proof while the release is away; it is compared with, and never restored.
  const proven = proof === null ? 'never proven by a restore' : 'proven'
  const what = `the backup ${of}${to} is intact, ${proven}, ${bytes(backup.bytes)}`
  return [say(proof === null ? 'note' : 'ok', 'migrated_backup', what, '', component)]
}
