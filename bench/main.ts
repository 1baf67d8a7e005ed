import { readFile, writeFile } from 'node:fs/promises'
import { availableParallelism, loadavg } from 'node:os'
import { join } from 'node:path'
import { ROOT } from './support/measure.ts'
import { type Bench, markdown, type Row } from './support/row.ts'

/** `npm run bench [NAME…]`: all benches, or those named. All of them write the table of docs/performance.md. */
const BENCHES: Record<string, () => Promise<{ bench: Bench }>> = {
  journal: () => import('./journal.ts'),
  overhead: () => import('./overhead.ts'),
  plan: () => import('./plan.ts'),
  start: () => import('./start.ts'),
  memory: () => import('./memory.ts'),
  hosts: () => import('./hosts.ts'),
}

const PAGE = join(ROOT, 'docs', 'performance.md')
const [BEGIN, END] = ['<!-- measured -->', '<!-- /measured -->']

const named = process.argv.slice(2)
const rows: Row[] = []
for (const [name, load] of Object.entries(BENCHES)) {
  if (named.length > 0 && !named.includes(name)) continue
  process.stdout.write(`${name} ...\n`)
  const { bench } = await load()
  rows.push(...(await bench()))
}
const load = loadavg()[0]?.toFixed(1)
const machine = `Measured on ${availableParallelism()} cores with Node ${process.versions.node}; load average at the end ${load}.`
const table = `${machine}\n\n${markdown(rows)}`
process.stdout.write(`\n${table}\n`)
if (named.length === 0) {
  const page = await readFile(PAGE, 'utf8')
  const [before = '', rest = ''] = page.split(BEGIN)
  await writeFile(PAGE, `${before}${BEGIN}\n${table}\n${END}${rest.split(END)[1] ?? ''}`)
}
