import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { applyCarry } from '../../src/data/carry/index.ts'
import { NOTHING_SAID } from '../../src/data/carry/options.ts'
import { JOB, sourceOf } from '../support/merge.ts'

/** Carries forward in small batches, and says so after each: to be killed in the middle. */
const [dir = '', ours = ''] = process.argv.slice(2)
const file = (name: string) => join(dir, `${name}.db`)
const migrated = existsSync(file('migrated')) ? file('migrated') : null
const source = sourceOf(dir, { ours, theirs: file('theirs'), base: file('base'), migrated }, [])
const progress = ({ text, done }: { text: string; done?: number }) => process.stdout.write(`${text} ${done ?? ''}\n`)
const { proof } = await applyCarry(source, NOTHING_SAID, { ...JOB, progress }, { batch: 200 })
process.stdout.write(`end ${proof.problems.join('; ')}\n`)
