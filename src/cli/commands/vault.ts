import { EXIT } from '../../core/errors.ts'
import { person } from '../../ledger/releases.ts'
import type { Globals } from '../program.ts'
import { withSession } from '../session.ts'

export function rotate(globals: Globals): Promise<number> {
  return withSession(globals, async ({ environment, out }) => {
    const count = await environment.ledger.vault.rotate()
    await (await environment.engine({ worker: false })).record('vault-rotated', { by: person(), count })
    out.data({ sealed: count })
    out.line(
      `A new key is in use; ${count} sealed ${count === 1 ? 'content was' : 'contents were'} sealed again with it.`,
    )
    return EXIT.ok
  })
}
