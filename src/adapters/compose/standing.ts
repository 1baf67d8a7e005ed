import type { Host } from './host.ts'
import type { View } from './look.ts'
import { runs } from './observe.ts'
import type { UpArgs } from './steps.ts'
import { staleBy, upVerdict } from './verify.ts'

/** Whether the containers are as they should be, where the files are. `more`: there are only more of them than the release had. */
export async function standingOf(
  host: Host,
  args: UpArgs,
  view: View,
  signal: AbortSignal,
): Promise<'right' | 'more' | 'wrong'> {
  const asIs = { ...args, force: false, hashes: false }
  const is = async (of: UpArgs) => (await upVerdict(host, of, view, { before: null, signal })).is
  const right = (await is(asIs)) !== 'not-done'
  if (!right && (await is(asMany(asIs, view))) === 'not-done') return 'wrong'
  if (args.hashes && (await staleBy(host, args, view, signal)).length > 0) return 'wrong'
  return right ? 'right' : 'more'
}

/** As many of each service as run now, where those are more. */
function asMany(args: UpArgs, { containers }: View): UpArgs {
  const up = (name: string) => containers.filter(c => c.service === name && runs(c)).length
  return { ...args, services: args.services.map(s => ({ ...s, count: Math.max(s.count, up(s.name)) })) }
}
