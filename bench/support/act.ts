import { readFileSync } from 'node:fs'
import { type Access, type Action, act } from './subjects.ts'

/** A process of its own that does one thing with a database and says how much memory it took at the most. */
const [access = '', action = '', dir = ''] = process.argv.slice(2)
await act(JSON.parse(access) as Access, action as Action, dir)
process.stdout.write(readFileSync('/proc/self/status', 'utf8'))
