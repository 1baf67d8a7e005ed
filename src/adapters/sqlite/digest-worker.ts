import { parentPort, workerData } from 'node:worker_threads'
import { type Again, openAgain } from './database.ts'
import { digestsOf, type Part } from './digests.ts'

/** A thread that digests parts of a database, one after another, all of the instant at which it began. */
const db = openAgain(workerData as Again['how'])
const { signal } = new AbortController()
const say = (what: unknown) => parentPort?.postMessage(what, [])
parentPort?.on('message', (part: Part) => void digestsOf(db, part, signal).then(say))
say('open')
