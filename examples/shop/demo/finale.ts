import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { RESTORE_ENVIRONMENT, restoreYaml } from '../backout.yaml.ts'
import type { Summary } from '../load.ts'
import { NEW, OLD, type World } from '../world.ts'
import { Backout } from './backout.ts'
import { type Counted, countRows, type Told, whatWasTold } from './carried.ts'
import { heading, say, seconds } from './text.ts'

/** The copies that it makes: when the release began, just before going back, and what the first act came to. */
const [RELEASED, BEFORE, MIGRATED_DOWN] = ['released', 'just_before', 'migrated_down'] as const

/** Everything that was measured of the way back by restoring the backup. */
export interface Restored extends Counted, Told {
  /** Orders that the shop had acknowledged when the database was copied, just before going back. */
  readonly acknowledged: Summary['orders']
}

/**
 * The second act: the database as it was just before going back is taken back once more, now by restoring its backup, and
 * what users wrote since is carried forward.
 */
export class Finale {
  readonly #world: World
  readonly #backout: Backout
  #copiedAt = ''

  constructor(world: World) {
    this.#world = world
    this.#backout = new Backout(world.root, 'restore.yaml')
  }

  /** For the deployment, once nobody is served: all that is written later is found again. */
  async begin(): Promise<void> {
    await writeFile(join(this.#world.root, 'restore.yaml'), restoreYaml(this.#world))
    await this.#world.store.copy(RELEASED)
    await this.#backout.quiet(['upgrade', 'begin', NEW, '--from', OLD])
  }

  /** For the deployment, right after the migrations. */
  async migrated(): Promise<void> {
    await this.#backout.quiet(['upgrade', 'migrated', NEW])
  }

  /** After the deployment, while users are served. */
  async ended(): Promise<void> {
    await this.#backout.quiet(['upgrade', 'end', NEW])
    await this.#backout.quiet(['release', 'mark', OLD, 'known-good', '--why', 'its gate held'])
  }

  /** Just before going back; users go on ordering. */
  async copy(): Promise<void> {
    this.#copiedAt = new Date().toISOString()
    await this.#world.store.copy(BEFORE)
  }

  /** Once the shop is stopped. `summary`: what the users say that they were told. */
  async restore({ orders }: Summary): Promise<Restored> {
    heading('The same moment once more, with nothing left but the backup')
    say(`The shop is stopped, and its database is again what it was just before going back. This time it is restored,`)
    say('and what users wrote since the backup is carried forward.')
    const { store } = this.#world
    await store.put(BEFORE, MIGRATED_DOWN)
    const decided = performance.now()
    const confirmed = ['--yes', '--loss-window', '1h']
    await this.#backout.run(['run', '--to', OLD, ...confirmed, '--reason', 'the migrations cannot be undone'])
    say(`Restored and carried forward after ${seconds(performance.now() - decided)}.`)
    const status = await this.#backout.carried()
    const state = join(this.#world.root, '.backout', 'environments', RESTORE_ENVIRONMENT, 'state', 'db')
    return {
      ...(await countRows(store, { released: RELEASED, before: BEFORE, restored: null })),
      ...(await whatWasTold(status, join(state, 'carry', status.now.run, 'archive'))),
      acknowledged: orders.filter(o => o.at < this.#copiedAt),
    }
  }
}
