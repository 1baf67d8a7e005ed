import { composeOf, type Host, run, said } from './host.ts'
import { type Container, composing } from './look.ts'

/**
 * Services of which Compose would make a container anew because it was made from other settings than these files on the host
 * have. Compose's own word: it alone knows what it hashes. Throws `compose_refused` where the files do not hold.
 */
export async function staleOf(
  host: Host,
  files: readonly string[],
  containers: readonly Container[],
  signal: AbortSignal,
): Promise<string[]> {
  if (containers.length === 0) return []
  const stale = (await isFirst(host, signal))
    ? await byHashes(host, files, containers, signal)
    : await byRehearsal(host, files, containers, signal)
  return [...new Set(stale.map(c => c.service))]
}

/** Compose 1, a program in Python, which a program in Go took the place of. */
export async function isFirst(host: Host, signal: AbortSignal): Promise<boolean> {
  if (host.first !== null) return host.first
  const argv = [...(await composeOf(host, signal)), 'version', '--short']
  host.first = /^v?1\./.test((await said(host, 'compose version', { argv }, signal)).trim())
  return host.first
}

/** Compose 1 says the hash that it puts on containers. */
async function byHashes(
  host: Host,
  files: readonly string[],
  containers: readonly Container[],
  signal: AbortSignal,
): Promise<Container[]> {
  const argv = [...(await composing(host, files, signal)), 'config', '--hash', '*']
  const out = await said(host, 'compose config --hash', { argv, cwd: host.config.directory }, signal)
  const lines = out.split('\n').filter(Boolean)
  const wanted = new Map(lines.map(line => line.split(' ', 2) as [string, string]))
  return containers.filter(c => wanted.get(c.service) !== c.hash)
}

/**
 * What later ones say is not what they put on containers: that holds what env_file holds, and what a service depends on as far
 * as it was brought up together with it. So they are asked what `up` would do: of all, as people do it, and of each one
 * alone, as a step does.
 */
async function byRehearsal(
  host: Host,
  files: readonly string[],
  containers: readonly Container[],
  signal: AbortSignal,
): Promise<Container[]> {
  const listed = { argv: [...(await composing(host, files, signal)), 'config', '--services'] }
  const out = await said(host, 'compose config', { ...listed, cwd: host.config.directory }, signal)
  const known = new Set(out.split('\n').filter(Boolean))
  const [there, strange] = [containers.filter(c => known.has(c.service)), containers.filter(c => !known.has(c.service))]
  const together = await made(host, files, there, [], signal)
  const stale = [...strange]
  for (const c of there.filter(({ name }) => together.has(name))) {
    const alone = await made(host, files, [c], ['--no-deps'], signal)
    if (alone.has(c.name)) stale.push(c)
  }
  return stale
}

/** Names of containers that `up` would make anew. */
async function made(
  host: Host,
  files: readonly string[],
  containers: readonly Container[],
  how: readonly string[],
  signal: AbortSignal,
): Promise<Set<string>> {
  const services = [...new Set(containers.map(c => c.service))]
  if (services.length === 0) return new Set()
  const words = ['--ansi', 'never', 'up', '-d', '--dry-run', '--no-build', '--pull', 'never', ...how, ...services]
  const [program, tail] = [await composing(host, files, signal), words]
  const { code, stdout, stderr } = await run(host, { argv: [...program, ...tail], cwd: host.config.directory }, signal)
  // What cannot be rehearsed (a dependency that is not healthy) is not known to be right.
  if (code !== 0) return new Set(containers.map(c => c.name))
  const names = `${stdout}\n${stderr}`.matchAll(/Container (\S+)\s+Recreate\b/g)
  return new Set([...names].map(match => match[1] ?? ''))
}
