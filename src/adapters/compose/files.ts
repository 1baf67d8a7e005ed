import { createHash } from 'node:crypto'
import type { StepAct, Vault, Verdict } from '../../core/contract.ts'
import { BackoutError, PLAN_ANEW } from '../../core/errors.ts'
import { redact } from '../../core/secret.ts'
import { bytesOf, composed, textOf } from '../../exec/dotenv.ts'
import { keepsToday } from '../../exec/secret-names.ts'
import { type Host, run } from './host.ts'
import { type FileView, look, type View } from './look.ts'
import type { PinnedFile } from './pin.ts'
import type { WriteArgs } from './steps.ts'

/** A captured file as it will be: files of variables with the secrets of today. Throws where the vault lost it. */
export async function goalOf(
  { config }: Host,
  vault: Vault,
  { sealed, variables }: Pick<PinnedFile, 'sealed' | 'variables'>,
  today: Buffer | null,
): Promise<Buffer> {
  const then = Buffer.from(await vault.open(sealed))
  if (!variables) return then
  const now = today === null ? null : textOf(today)
  return bytesOf(composed(textOf(then), now, key => keepsToday(config, key)))
}

/** Replaces a file at once, unless it is not what was read a moment ago. `$2`: SHA-256 of that, empty for no file. */
const WRITE = `cd "$1" || exit 9
aside=$3.backout-$4
umask 077
rm -f "$aside"
printf %s "$7" | base64 -d >"$aside" && chmod "$5" "$aside" || { rm -f "$aside"; exit 10; }
[ "$(stat -c %u:%g "$aside")" = "$6" ] || chown "$6" "$aside" || { rm -f "$aside"; exit 11; }
now=
[ ! -e "$3" ] || now=$(sha256sum <"$3" | cut -c1-64)
[ "$now" = "$2" ] || { rm -f "$aside"; exit 12; }
sync "$aside" 2>/dev/null || sync
mv -f "$aside" "$(readlink -f "$3")"`

export async function write(host: Host, args: WriteArgs, act: StepAct): Promise<void> {
  const today = await fileNow(host, args.path, act.signal)
  const found = today === null ? null : act.vault.mac(today.content)
  const content = await goalOf(host, act.vault, args, today?.content ?? null)
  if (found === args.mac) return
  if (found !== args.expect || act.vault.mac(content) !== args.mac) throw moved(host, args.path)
  act.signal.throwIfAborted()
  act.guard()
  if (today !== null) {
    const { id } = await act.vault.seal(today.content, `${host.component}: ${args.path} before ${act.idem}`)
    await act.tell({
      kind: 'kept',
      text: `${args.path} as it was is in the vault as ${id}`,
      data: { path: args.path, sealed: id },
    })
  }
  const sum = today === null ? '' : createHash('sha256').update(today.content).digest('hex')
  const { mode, owner } = today ?? args
  const words = [host.config.directory, sum, args.path, act.idem, mode, owner, content.toString('base64')]
  act.signal.throwIfAborted()
  act.guard()
  // The content goes through the script's input: a process list shows no arguments of it.
  const script = `set -- ${words.map(() => '"$(line)"').join(' ')}\n${WRITE}`
  const argv = ['sh', '-c', `line() { IFS= read -r l; printf %s "$l"; }\n${script}`]
  const { code, stderr } = await run(host, { argv, stdin: `${words.join('\n')}\n`, idem: act.idem }, act.signal)
  if (code === 12) throw moved(host, args.path)
  if (code !== 0) throw notWritten(host, args.path, code, stderr)
}

async function fileNow(host: Host, path: string, signal: AbortSignal): Promise<FileView | null> {
  return (await look(host, signal)).files.find(f => f.path === path) ?? null
}

export function fileVerdict({ files }: View, { path, mac }: WriteArgs, act: StepAct): Verdict {
  const file = files.find(f => f.path === path)
  if (file === undefined) return { is: 'not-done', why: `there is no ${path}` }
  const done = act.vault.mac(file.content) === mac
  return done ? { is: 'done', why: 'the content is there' } : { is: 'not-done', why: 'the content is another one' }
}

export function moved({ place }: Host, path: string): BackoutError {
  return new BackoutError({
    code: 'file_moved',
    what: `${place}/${path} was changed since the plan looked at it; it was left alone`,
    next: `find out who deploys there, then ${PLAN_ANEW}`,
    exit: 'moved',
  })
}

function notWritten({ place }: Host, path: string, code: number, stderr: string): BackoutError {
  const next: Record<number, string> = {
    9: 'make the folder, or correct `directory`',
    11: 'its owner must be kept: log in as that user, or as root',
  }
  return new BackoutError({
    code: 'file_not_replaced',
    what: `${place}/${path} could not be replaced; it is as it was`,
    cause: redact(stderr.trim()) || undefined,
    next: next[code] ?? 'look at the rights of its folder, and at the room on its disk',
    exit: 'failed',
  })
}
