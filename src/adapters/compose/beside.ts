import type { Finding } from '../../core/contract.ts'
import type { Host } from './host.ts'
import type { Container, View } from './look.ts'
import { runs } from './observe.ts'
import type { UpArgs } from './steps.ts'
import { ended } from './verify.ts'

export type Say = (level: Finding['level'], code: string, what: string, remedy: string) => void

interface Beside {
  readonly view: View
  readonly args: UpArgs
  readonly jobs: ReadonlySet<string>
  /** A database wants the project stopped. */
  readonly stops: boolean
}

/** What is at work beside the services, and what comes off those that change. */
export function sayBeside(host: Host, { view, args, jobs, stops }: Beside, say: Say): void {
  for (const name of view.oneOffs) {
    const what = `${name}, which \`compose run\` began, is still at work at ${host.place}: it is left alone`
    say('warning', 'run_at_work', what, `end it first if it writes to what goes back: \`docker rm -f ${name}\``)
  }
  const atWork = view.containers.filter(c => jobs.has(c.service) && !ended(c))
  for (const name of new Set(atWork.map(c => c.service))) {
    const what = `${name} is a job, for others wait for its end, and still at work: it is ${stops ? 'stopped' : 'left to its end'}`
    say('warning', 'job_at_work', what, 'wait until it has ended, then plan again, if there is time')
  }
  for (const { name, count } of args.services) sayLowered(name, count, view.containers, say)
  for (const c of view.containers.filter(({ service }) => args.orphans.includes(service))) sayDetached(c, say)
}

/** The load that they were added for may still be there. */
function sayLowered(name: string, count: number, containers: readonly Container[], say: Say): void {
  const now = containers.filter(c => c.service === name && runs(c))
  if (now.length <= count) return
  const what = `${name} goes back to ${count} container${count === 1 ? '' : 's'}: it has ${now.length} now`
  const remedy = `\`up -d --scale ${name}=${now.length}\` afterwards, if the load is still there`
  say('warning', 'replicas_lowered', what, remedy)
  for (const c of now) sayDetached(c, say, 'it may be among those that go: ')
}

function sayDetached({ service, name, volumes }: Container, say: Say, maybe = ''): void {
  for (const volume of volumes) {
    const what = `${name} of ${service} has ${service}:${volume.path} in a volume without a name; ${maybe}the volume stays there as ${volume.name}, and no container has it any more`
    say('warning', 'volume_detached', what, 'copy out what is needed, and give such volumes names in the files')
  }
}
