import type { StepAct, Verdict } from '../../core/contract.ts'
import { BackoutError, PLAN_ANEW } from '../../core/errors.ts'
import { given } from './engine.ts'
import { configOf, contentMac } from './observe.ts'
import type { Site } from './site.ts'
import type { ConfigArgs, MadeConfig } from './steps.ts'
import type { Config, Spec } from './types.ts'

/** Makes a config again that the release had. One of its name with the same content is as good. */
export async function makeConfig(site: Site, args: ConfigArgs, act: StepAct): Promise<void> {
  const { service: name, mac, sealed } = args
  const there = await configOf(site, name, act.signal)
  if (there !== null && contentMac(site, there) === mac) return
  if (there !== null) throw taken(name)
  const spec = JSON.parse(Buffer.from(await act.vault.open(sealed)).toString('utf8')) as Config['Spec']
  act.signal.throwIfAborted()
  act.guard()
  // The library puts what is no body into the address, which is too short for a file.
  const call = { _query: {}, _body: spec }
  await site.engine.ask(`to make the config ${name}`, (docker, o) => docker.createConfig(given(call, o)), act.signal)
}

export async function configVerdict(site: Site, { service: name, mac }: ConfigArgs, act: StepAct): Promise<Verdict> {
  const there = await configOf(site, name, act.signal)
  if (there === null) return { is: 'not-done', why: 'there is no such config' }
  return contentMac(site, there) === mac
    ? { is: 'done', why: 'it has the content of the release' }
    : { is: 'not-done', why: 'it has another content' }
}

/** A specification with the ids that the configs have which were made again. Throws `config_gone`. */
export async function withMade(
  site: Site,
  spec: Spec,
  made: readonly MadeConfig[],
  signal: AbortSignal,
): Promise<Spec> {
  const ids = new Map<string, string>()
  for (const { id, name, mac } of made) {
    const there = await configOf(site, name, signal)
    if (there === null || contentMac(site, there) !== mac) throw goneAgain(name)
    ids.set(id, there.ID)
  }
  return withIds(spec, config => ids.get(config.ConfigID))
}

/** The same by the ids of the pin, as the plan has it: what their new ones would be it could not know. */
export function asPlanned(spec: Spec, made: readonly MadeConfig[]): Spec {
  return withIds(spec, config => made.find(m => m.name === config.ConfigName)?.id)
}

type ConfigRef = NonNullable<Spec['TaskTemplate']['ContainerSpec']['Configs']>[number]

function withIds(spec: Spec, idOf: (config: ConfigRef) => string | undefined): Spec {
  const { ContainerSpec: container, ...template } = spec.TaskTemplate
  const { Configs: configs } = container
  if (configs === undefined) return spec
  const renamed = configs.map(config => ({ ...config, ConfigID: idOf(config) ?? config.ConfigID }))
  return { ...spec, TaskTemplate: { ...template, ContainerSpec: { ...container, Configs: renamed } } }
}

function taken(name: string): BackoutError {
  return new BackoutError({
    code: 'config_taken',
    what: `Somebody made a config ${name} with other content since the plan; it was left alone`,
    next: `find out who deploys there; \`docker config rm ${name}\` if nobody needs it, then resume`,
    exit: 'moved',
  })
}

function goneAgain(name: string): BackoutError {
  return new BackoutError({
    code: 'config_gone',
    what: `The config ${name}, which was made again for the release, is not there, or has other content`,
    next: `find out who cleans up there, then ${PLAN_ANEW}`,
    exit: 'moved',
  })
}
