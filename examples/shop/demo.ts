import { mkdtemp, readdir, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { backoutYaml } from './backout.yaml.ts'
import { Backout } from './demo/backout.ts'
import { Finale } from './demo/finale.ts'
import { type Facts, judge } from './demo/promises.ts'
import { heading, print, say, seconds } from './demo/text.ts'
import { isAlive } from './lib/processes.ts'
import { type Load, startLoad } from './load.ts'
import { reading } from './world/database.ts'
import { KINDS, type Kind, missing } from './world/store.ts'
import { buildWorld, NEW, OLD, type World } from './world.ts'

/**
 * A real rollback of a real, small shop on this machine: three processes behind a balancer, a database, configuration in
 * Git, an env file, feature flags, and users ordering all the while. Then the same database is taken back by restoring its
 * backup, and what was written since is carried forward. Exit code 0 only if everything is as promised. With
 * `--database postgres` or `mysql` the shop lives on a real server of its own; 2 where that is not installed.
 */
const kind = wanted()
const lacking = await missing(kind)
if (lacking !== null) refuse(lacking)
const began = performance.now()
const folder = await mkdtemp(join(tmpdir(), 'backout-demo-'))
heading(`A shop in ${folder}`)
const world = await buildWorld(folder, kind)
const load = startLoad({ url: world.url, users: 6, thinkMs: 200 })
const pids = [...world.pids(), load.pid]
const stop = async () => {
  await load[Symbol.asyncDispose]()
  await world.teardown()
}
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.once(name, () => void stop().finally(() => process.exit(130)))

let kept = true
try {
  const finale = new Finale(world)
  const facts = await rollback(world, load, finale)
  await world.close()
  const restored = await finale.restore(facts.summary)
  await world.teardown()
  const left = pids.filter(isAlive)
  kept = judge({ ...facts, restored, left }, seconds(performance.now() - began))
} finally {
  await stop()
}
print(`Everything lies in ${folder}; remove it whenever you like: rm -r ${folder}`)
process.exit(kept ? 0 : 1)

/** The kind of database that the command line asks for. */
function wanted(): Kind {
  try {
    const { database } = parseArgs({ options: { database: { type: 'string', default: 'sqlite' } } }).values
    const kind = KINDS.find(each => each === database)
    return kind ?? refuse(`There is no database "${database}" here: it can be ${KINDS.join(', ')}`)
  } catch (error) {
    return refuse(`${(error as Error).message}. All that can be asked for is --database ${KINDS.join('|')}`)
  }
}

function refuse(why: string): never {
  process.stderr.write(`${why}\n`)
  process.exit(2)
}

async function rollback(world: World, load: Load, finale: Finale): Promise<Omit<Facts, 'restored' | 'left'>> {
  await writeFile(join(folder, 'backout.yaml'), backoutYaml(world))
  const backout = new Backout(folder)
  const [database] = await reading(world.store, db => db.all(world.store.version))
  say(`Its database is ${database?.version}.`)
  say(`Users order at ${world.url}. ${OLD} serves them, and its gate passes:`)
  await untilOrders(load, 20)
  await backout.run(['gates'])

  heading(`The deployment of ${NEW} begins by telling Backout`)
  await backout.run(['upgrade', 'begin', NEW, '--from', OLD])
  await backout.run(['release', 'mark', OLD, 'known-good', '--why', 'its gate holds'])
  await load.mark('deploy')
  await world.deploy(NEW, {
    drained: () => finale.begin(),
    async migrated() {
      await backout.quiet(['upgrade', 'migrated', NEW])
      await finale.migrated()
    },
  })
  await load.mark('bad')
  say("Deployed by the team's own script: migrations, settings, flags, three processes.")
  await Promise.all([untilSettled(world), finale.ended()])

  heading(`${NEW} is bad: slow, and wrong`)
  await backout.run(['upgrade', 'end', NEW], [10])
  await backout.run(['release', 'mark', NEW, 'bad', '--why', 'wrong totals, slow orders'])
  const assess = [
    'assess',
    '--severity',
    'high',
    '--data-impact',
    'minor',
    '--time-to-fix',
    '2h',
    '--functions',
    'order',
  ]
  await backout.run(assess)

  heading('What going back would do and cost')
  const plan = join(folder, 'rollback.plan.json')
  await backout.run(['plan', '--out', plan])
  const listed = await discountsListed(plan)
  const atRisk = await world.discountsInDb()

  heading('Going back')
  const before = await world.servedVersions()
  await finale.copy()
  await load.mark('rollback')
  const decided = performance.now()
  await backout.run(['run', plan, '--yes', '--reason', 'wrong totals, slow orders'])
  const healthyMs = await backout.healthyAfter()
  await load.mark('after')
  say(`Back after ${seconds(performance.now() - decided)}. Users go on for a moment, on ${OLD}.`)
  await untilOrders(load, 20)
  const summary = await load.stop()
  await backout.run(['audit', 'verify'])
  return {
    before,
    after: await world.servedVersions(),
    summary,
    healthyMs,
    stored: await world.ordersInDb(),
    migrations: await world.migrations(),
    discounts: { listed, atRisk, lost: await discountsLost() },
    report: await backout.report(),
  }
}

/** Waits until so many more orders were acknowledged. */
async function untilOrders(load: Load, more: number): Promise<void> {
  const start = (await load.snapshot()).acknowledged
  for (let i = 0; i < 100; i++) {
    if ((await load.snapshot()).acknowledged >= start + more) return
    await new Promise(resolve => setTimeout(resolve, 100))
  }
  throw new Error('the users do not get their orders through')
}

/** The coupon of the launch is used up within seconds: from then on the number of discounts stands. */
async function untilSettled(world: World): Promise<void> {
  for (let i = 0; i < 200; i++) {
    if ((await world.discountsInDb()).length >= 40) return
    await new Promise(resolve => setTimeout(resolve, 100))
  }
  throw new Error('the coupon of the launch was not used up')
}

interface PlanFile {
  readonly impact: { readonly loss: readonly { what: string; count: number; unit: string }[] }
}

/** Everything that the plan says would be lost. */
async function discountsListed(plan: string): Promise<PlanFile['impact']['loss']> {
  return (JSON.parse(await readFile(plan, 'utf8')) as PlanFile).impact.loss.filter(l => l.count > 0)
}

/** What was written aside before it was destroyed, from the pre-rollback backup. */
async function discountsLost(): Promise<{ id: number; discount: number }[]> {
  const backups = join(folder, '.backout', 'environments', 'shop', 'backups', 'db')
  const files = (await readdir(backups, { recursive: true })).filter(name => name.endsWith('orders.discount.ndjson'))
  const texts = await Promise.all(files.map(name => readFile(join(backups, name), 'utf8')))
  return texts.flatMap(text =>
    text
      .split('\n')
      .filter(line => line !== '')
      .map(line => JSON.parse(line) as { id: number; discount: number }),
  )
}
