import { randomUUID } from 'node:crypto'
import { type EnvironmentModel, install, type VersionModel } from './model.ts'

export type Status =
  | 'saved'
  | 'running'
  | 'needs_user_intervention'
  | 'aborting'
  | 'aborted'
  | 'finished_successful'
  | 'finished_with_warnings'
  | 'finished_with_errors'
  | 'force_finished'

/** How a deployment goes once it is started. */
export interface Course {
  /** Until it ends, milliseconds. Infinity: never. */
  readonly ms?: number
  readonly ends?: Status
  /** `Info` of an intervention that it stops for before it changes anything. */
  readonly asks?: string
  /** How many of its applications take effect; all, unless it ends with errors or is forced to. */
  readonly partly?: number
  /** Takes the command to abort and never ends doing so. */
  readonly abortHangs?: boolean
  /** From here on it cannot be aborted any more; half of its time by default. Milliseconds. */
  readonly deployingAfter?: number
  readonly says?: string
}

export interface Operation {
  readonly version: VersionModel
  readonly zone: string
}

/** One deployment, which goes on by itself with the time. */
export class Deployment {
  readonly key = randomUUID()
  readonly createdOn = new Date()
  readonly log: { Instant: string; Message: string; Type: string }[] = []
  readonly source: string
  readonly target: EnvironmentModel
  readonly notes: string
  readonly operations: readonly Operation[]
  readonly binary: boolean
  /** Commands that LifeTime took. */
  readonly commands: string[] = []
  startedOn: Date | null = null
  abortedOn: Date | null = null
  course: Course = {}
  info = ''
  #status: Status = 'saved'
  #since = 0

  constructor(o: {
    source: string
    target: EnvironmentModel
    notes: string
    operations: Operation[]
    binary: boolean
  }) {
    this.source = o.source
    this.target = o.target
    this.notes = o.notes
    this.operations = o.operations
    this.binary = o.binary
  }

  get status(): Status {
    this.#advance()
    return this.#status
  }

  get alive(): boolean {
    return ['running', 'needs_user_intervention', 'aborting'].includes(this.status)
  }

  /** Still before the moment from which it cannot be aborted. */
  get abortable(): boolean {
    if (this.status === 'needs_user_intervention') return true
    const { ms = 30, deployingAfter = ms / 2 } = this.course
    return this.status === 'running' && performance.now() - this.#since < deployingAfter
  }

  start(course: Course): void {
    this.course = course
    this.startedOn = new Date()
    this.#since = performance.now()
    this.#status = 'running'
    this.#say(`Uploading modules to ${this.target.name}`)
    if (course.asks !== undefined) this.#ask(course.asks)
  }

  resume(): void {
    this.info = ''
    this.#status = 'running'
    this.#since = performance.now()
  }

  /** Ends now, as its course says; one without an end of its own waits for this. */
  finish(): void {
    this.course = { ...this.course, ms: 0 }
  }

  abort(): void {
    this.abortedOn = new Date()
    this.#status = this.course.abortHangs === true ? 'aborting' : 'aborted'
    this.#say('Aborting')
  }

  #ask(info: string): void {
    this.info = info
    this.#status = 'needs_user_intervention'
    this.#say(this.course.says ?? 'Waiting for confirmation', 'Warning')
  }

  #advance(): void {
    const { ms = 30, ends = 'finished_successful', partly } = this.course
    if (this.#status !== 'running' || performance.now() - this.#since < ms) return
    const whole = ends === 'finished_successful' || ends === 'finished_with_warnings'
    for (const { version, zone } of this.operations.slice(0, partly ?? (whole ? Infinity : 0))) {
      install(this.target, version, zone)
      this.#say(`Deploying '${version.application.name}'.`)
    }
    if (this.course.says !== undefined) this.#say(this.course.says, whole ? 'Warning' : 'Error')
    this.#say(whole ? 'Deploy completed' : 'Deploy ended')
    this.#status = ends
  }

  #say(Message: string, Type = 'Info'): void {
    this.log.push({ Instant: new Date().toISOString(), Message, Type })
  }
}
