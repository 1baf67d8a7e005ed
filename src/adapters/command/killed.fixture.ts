import { writeFileSync } from 'node:fs'
import type { OpenContext, Step, StepAct } from '../../core/contract.ts'
import { config } from './config.ts'
import { command } from './index.ts'

/** A process that applies one step and keeps its handle in a file, as a journal would; the test kills it in the middle. */
const [settings = '', step = '', idem = '', dir = ''] = process.argv.slice(2)
const ctx: Partial<OpenContext> = { environment: 'test', component: 'app', baseDir: dir }
const target = await command.open(config.parse(JSON.parse(settings)), ctx as OpenContext)
const act: Partial<StepAct> = {
  idem,
  attempt: 1,
  signal: new AbortController().signal,
  guard: () => {},
  note: async handle => writeFileSync(`${dir}/handle`, JSON.stringify(handle)),
}
await target.apply(JSON.parse(step) as Step, act as StepAct)
