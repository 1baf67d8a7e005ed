import { execFileSync } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { bench as fleet } from './fleet.ts'
import { bench as hosts } from './hosts.ts'
import { bench as journal } from './journal.ts'
import { bench as kubernetes } from './kubernetes.ts'
import { bench as memory } from './memory.ts'
import { bench as mysql } from './mysql.ts'
import { bench as overhead } from './overhead.ts'
import { bench as plan } from './plan.ts'
import { bench as postgres } from './postgres.ts'
import { bench as sqlite } from './sqlite.ts'
import { bench as start } from './start.ts'
import { machine } from './support/machine.ts'
import { ROOT } from './support/measure.ts'
import { type Bench, markdown, type Row } from './support/row.ts'

const BENCHES: Readonly<Record<string, Bench>> = {
  journal,
  overhead,
  plan,
  start,
  memory,
  fleet,
  hosts,
  kubernetes,
  postgres,
  mysql,
  sqlite,
}
const DOCUMENT = join(ROOT, 'docs', 'performance.md')
const [BEGIN, END] = ['<!-- bench: begin -->', '<!-- bench: end -->']

const { values, positionals } = parseArgs({
  allowPositionals: true,
  // `rows`: what one bench measured, for the process that asked for it.
  options: { date: { type: 'string' }, rows: { type: 'boolean', default: false } },
})
const unknown = positionals.filter(name => BENCHES[name] === undefined)
if (unknown.length > 0) {
  console.error(`There is no bench ${unknown.join(', ')}; there are: ${Object.keys(BENCHES).join(', ')}`)
  process.exit(2)
}

const names = positionals.length > 0 ? positionals : Object.keys(BENCHES)
if (values.rows) {
  const measured: Row[] = []
  for (const name of names) measured.push(...((await BENCHES[name]?.()) ?? []))
  console.log(JSON.stringify(measured))
} else {
  const rows = names.flatMap(apart)
  const text = `${await machine(values.date)}\n\n${markdown(rows)}`
  console.log(`\n${text}`)
  // A part of the benches would leave a table that was never measured in one run.
  if (positionals.length === 0) await document(text)
}

/** In a process of its own, as a user's command is, and once all that was written before is on the disk. */
function apart(name: string): Row[] {
  console.error(`${name} ...`)
  execFileSync('sync')
  const words = [...process.execArgv, import.meta.filename, '--rows', name]
  const printed = execFileSync(process.execPath, words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })
  return JSON.parse(printed.trim().split('\n').at(-1) ?? '') as Row[]
}

async function document(measured: string): Promise<void> {
  const before = await readFile(DOCUMENT, 'utf8')
  const [head, rest] = before.split(BEGIN)
  const tail = rest?.split(END)[1]
  if (head === undefined || tail === undefined) throw new Error(`${DOCUMENT} has no ${BEGIN} and ${END}`)
  await writeFile(DOCUMENT, `${head}${BEGIN}\n\n${measured}\n\n${END}${tail}`)
  console.error(`\nwritten to ${DOCUMENT}`)
}
