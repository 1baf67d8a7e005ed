import { createInterface } from 'node:readline/promises'
import { Writable } from 'node:stream'
import { BackoutError } from '../core/errors.ts'
import { remember } from '../core/secret.ts'

const SHORTEST = 10

/**
 * The passphrase of an exported release: BACKOUT_PASSPHRASE, or typed at the terminal, where it is not shown. Throws
 * `no_passphrase`, `passphrase_short`, `passphrase_differs`.
 * @param fresh It is a new one: asked twice, and refused where it is short.
 */
export async function passphrase({ fresh }: { fresh: boolean }): Promise<string> {
  const given = process.env['BACKOUT_PASSPHRASE']
  // Commands that are started from here have no need to know it.
  delete process.env['BACKOUT_PASSPHRASE']
  const said = given ?? (await hidden('Passphrase: '))
  if (fresh && (said.length < SHORTEST || said.includes('\n'))) {
    throw new BackoutError({
      code: 'passphrase_short',
      what: `The passphrase must be one line of ${SHORTEST} characters or more: whoever has the file can try as many as they like`,
      next: 'use five random words, or encrypt to a key: --recipient age1…',
      exit: 'usage',
    })
  }
  remember(said)
  if (fresh && given === undefined && (await hidden('Once more: ')) !== said) {
    const next = 'export again'
    throw new BackoutError({ code: 'passphrase_differs', what: 'The two passphrases differ', next, exit: 'usage' })
  }
  return said
}

async function hidden(question: string): Promise<string> {
  if (!process.stdin.isTTY) {
    throw new BackoutError({
      code: 'no_passphrase',
      what: 'An exported release is always encrypted, and nobody is there to type a passphrase',
      next: 'set BACKOUT_PASSPHRASE; or use a key: export with --recipient age1…, import with --identity FILE',
      exit: 'usage',
    })
  }
  process.stderr.write(question)
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() })
  const lines = createInterface({ input: process.stdin, output: nowhere, terminal: true })
  lines.once('SIGINT', () => process.kill(process.pid, 'SIGINT'))
  try {
    return await lines.question('')
  } finally {
    lines.close()
    process.stderr.write('\n')
  }
}
