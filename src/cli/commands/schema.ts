import { adapterOf, KINDS } from '../../adapters/registry.ts'
import { jsonSchema } from '../../config/json-schema.ts'
import { EXIT } from '../../core/errors.ts'
import { openOut } from '../out.ts'
import type { Globals } from '../program.ts'
import { catalogue } from '../wiring/environment.ts'

export async function schema(): Promise<number> {
  process.stdout.write(`${JSON.stringify(await jsonSchema(catalogue), null, 2)}\n`)
  return EXIT.ok
}

export async function adapters(globals: Globals): Promise<number> {
  const out = openOut({ json: globals.json })
  const all = await Promise.all(KINDS.map(adapterOf))
  out.data(all.map(a => a.kind))
  for (const { kind } of all) out.line(`${kind.padEnd(14)} docs/adapters/${kind}.md`)
  return EXIT.ok
}
