import { setTimeout as sleep } from 'node:timers/promises'
import type { Step, StepAct } from '../../core/contract.ts'
import { BackoutError } from '../../core/errors.ts'
import { moved, write } from './files.ts'
import { doing } from './halt.ts'
import { docker, type Host, refused, run, said } from './host.ts'
import { type Container, composing, imageOf, look, type View } from './look.ts'
import { isFirst } from './stale.ts'
import { argsOf, type StopArgs, type UpArgs } from './steps.ts'
import { beforeOf, ended, serviceVerdict, staleBy, upVerdict } from './verify.ts'

const LOOK_MS = 300

export async function apply(host: Host, step: Step, act: StepAct): Promise<void> {
  const args = argsOf(step)
  act.signal.throwIfAborted()
  if (args.do === 'write') return write(host, args, act)
  if (args.do === 'stop') return stop(host, args, act)
  return up(host, args, act)
}

async function stop(host: Host, { services }: StopArgs, act: StepAct): Promise<void> {
  const { containers } = await look(host, act.signal)
  const ids = containers.filter(c => services.includes(c.service) && !ended(c)).map(c => c.id)
  if (ids.length === 0) return
  act.signal.throwIfAborted()
  act.guard()
  const argv = [...docker(host), 'stop', ...ids]
  await said(host, 'docker stop', { argv, limitMs: host.config.limits.stop, idem: act.idem }, act.signal)
}

async function up(host: Host, args: UpArgs, act: StepAct): Promise<void> {
  const view = await look(host, act.signal)
  refuseBusy(host, view)
  for (const [path, mac] of Object.entries(args.macs)) {
    const file = view.files.find(f => f.path === path)
    if (file === undefined || act.vault.mac(file.content) !== mac) throw moved(host, path)
  }
  const ours = view.containers.filter(
    c => args.services.some(s => s.name === c.service) || args.orphans.includes(c.service),
  )
  const known = beforeOf(act.handle)
  const before = known ?? ours.map(c => c.id)
  if (args.force && known === null) await act.note({ before: [...before] })
  for (const service of args.services) await ensureImage(host, service, act)
  const orphans = ours.filter(c => args.orphans.includes(c.service))
  await remove(
    host,
    orphans.map(c => c.id),
    act,
  )
  // Of these Compose itself makes the next container, for it alone hands on to it what is in volumes without a name.
  const holding = new Set(ours.filter(c => c.volumes.length > 0).map(c => c.service))
  const gone = (c: Container) => before.includes(c.id) && !orphans.includes(c) && !holding.has(c.service)
  const old = args.do === 'recreate' ? ours.filter(gone) : []
  await remove(
    host,
    old.map(c => c.id),
    act,
  )
  for (const services of await toBring(host, args, act.signal)) await bringUp(host, args, services, act)
  await follow(host, args, before, act)
}

/**
 * What is brought up together. Compose 1 leaves alone by itself what is right. Later ones take a container for another where
 * it was brought up with other services: there what is not right is named, each alone, as it is asked for afterwards.
 */
async function toBring(host: Host, args: UpArgs, signal: AbortSignal): Promise<UpArgs['services'][]> {
  // Called without a name, Compose brings up whatever its files have.
  if (args.services.length === 0) return []
  if (await isFirst(host, signal)) return [args.services]
  if (args.force) return args.services.map(s => [s])
  const view = await look(host, signal)
  const stale = args.hashes ? await staleBy(host, args, view, signal) : []
  const wrong = args.services.filter(s => stale.includes(s.name) || serviceVerdict(host, s, view).is === 'not-done')
  return wrong.map(s => [s])
}

async function bringUp(host: Host, args: UpArgs, services: UpArgs['services'], act: StepAct): Promise<void> {
  const argv = await upWords(host, { ...args, services }, act.signal)
  act.signal.throwIfAborted()
  act.guard()
  const { directory, limits } = host.config
  const result = await run(host, { argv, cwd: directory, limitMs: limits.up, idem: act.idem }, act.signal)
  if (result.code !== 0) throw refused(host, 'compose up', result)
}

/** Stops and removes containers; not by `--remove-orphans`, which would take what is left out on purpose too. */
async function remove(host: Host, ids: readonly string[], act: StepAct): Promise<void> {
  if (ids.length === 0) return
  for (const words of [['stop'], ['rm', '-f']]) {
    act.signal.throwIfAborted()
    act.guard()
    const argv = [...docker(host), ...words, ...ids]
    const command = { argv, limitMs: host.config.limits.stop, idem: act.idem }
    await said(host, `docker ${words[0]}`, command, act.signal)
  }
}

function refuseBusy(host: Host, { busy }: View): void {
  if (busy.length === 0) return
  throw new BackoutError({
    code: 'compose_busy',
    what: `Somebody else is at work on ${host.place}`,
    cause: busy.map(doing).join('\n'),
    next: 'wait until it has ended, or stop it, then resume',
    exit: 'failed',
  })
}

/** Only the services that ran: a file's one-shot jobs, such as migrations, are not run again by going back. */
async function upWords(host: Host, args: UpArgs, signal: AbortSignal): Promise<string[]> {
  const scales = args.services.flatMap(s => ['--scale', `${s.name}=${s.count}`])
  return [
    ...(await composing(host, args.files, signal)),
    'up',
    '-d',
    '--no-build',
    '--no-deps',
    ...(args.force ? ['--force-recreate'] : []),
    ...scales,
    ...args.services.map(s => s.name),
  ]
}

/** Sees to it that the name in the file means the pinned image on this host: pulled again, or called so again. */
async function ensureImage(
  host: Host,
  { name, ref, id, digests }: UpArgs['services'][number],
  act: StepAct,
): Promise<void> {
  const { signal } = act
  const quick = { limitMs: host.config.limits.up, idem: act.idem }
  if ((await imageOf(host, id, signal)) === null) {
    const [from] = digests
    if (from === undefined) throw imageGone(host, name, ref)
    act.signal.throwIfAborted()
    act.guard()
    act.progress({ text: `pulling ${from}` })
    await said(host, `docker pull ${from}`, { argv: [...docker(host), 'pull', '-q', from], ...quick }, signal)
    if ((await imageOf(host, id, signal)) === null) throw imageGone(host, name, from)
  }
  if (ref.startsWith('sha256:') || ref.includes('@')) return
  const now = await imageOf(host, ref, signal)
  if (now?.id === id) return
  act.signal.throwIfAborted()
  act.guard()
  if (now !== null) {
    const kept = `backout-left/${host.project}-${name}:${now.id.slice(7, 19)}`
    await said(host, 'docker tag', { argv: [...docker(host), 'tag', now.id, kept], ...quick }, signal)
    await act.tell({
      kind: 'kept',
      text: `${ref} meant another image on ${host.config.host}, which is called ${kept} now`,
    })
  }
  await said(host, 'docker tag', { argv: [...docker(host), 'tag', id, ref], ...quick }, signal)
}

function imageGone({ place }: Host, service: string, ref: string): BackoutError {
  return new BackoutError({
    code: 'image_gone',
    what: `The image of ${service} (${ref}) is no longer at ${place}, and cannot be pulled as it was`,
    next: 'load it again (`docker load`), or fix forward',
    exit: 'failed',
  })
}

/** Waits until the containers can be believed. Throws `up_failed`. */
async function follow(host: Host, args: UpArgs, before: readonly string[], act: StepAct): Promise<void> {
  const until = performance.now() + host.config.limits.up
  for (;;) {
    const view = await look(host, act.signal)
    // What Compose itself makes of the files is asked once, by verify: it takes it a second.
    const verdict = await upVerdict(host, { ...args, hashes: false }, view, { before, signal: act.signal })
    if (verdict.is === 'done') return
    if (verdict.is === 'not-done' || performance.now() > until) {
      throw new BackoutError({
        code: 'up_failed',
        what: `The project at ${host.place} does not get to the release`,
        cause: verdict.why,
        next: `look at \`docker logs\` of its containers there`,
        exit: 'failed',
      })
    }
    act.progress({ text: verdict.why })
    await sleep(LOOK_MS, undefined, { signal: act.signal })
  }
}
