import { BackoutError } from '../core/errors.ts'
import { redact } from '../core/secret.ts'
import type { Site } from './site.ts'
import type { Trouble } from './status.ts'

export function releaseUnknown({ component }: Site, side: 'from' | 'to'): BackoutError {
  return new BackoutError({
    code: 'exec_release_unknown',
    what: `No object of ${component} has a revision of the release that is ${side === 'from' ? 'left' : 'gone back to'}`,
    next:
      side === 'from'
        ? 'put back what was deleted, the object or its revision, then resume; or resolve the step by hand'
        : 'run it once the release is back: before, nobody has its artefact',
    exit: 'failed',
  })
}

export function vanished(name: string, cause?: string): BackoutError {
  return new BackoutError({
    code: 'exec_lost',
    what: `The Job ${name} ended without anybody being able to tell how`,
    cause,
    next: 'look at what the command was to do, then resolve the step by hand',
    exit: 'failed',
  })
}

/** Before 1.25 the controller makes another pod in the place of one that is deleted, while that is still at work. */
export function repeated(name: string): BackoutError {
  return new BackoutError({
    code: 'exec_repeated',
    what: `The pod of the Job ${name} was deleted before its command had ended, and another one was made that may have begun it again`,
    cause: 'somebody drained its node, or deleted it; the Job was deleted, so that it goes no further',
    next: 'look at what the command was to do, and whether it did it twice, then resolve the step by hand',
    exit: 'failed',
  })
}

export function notBegun(name: string, trouble: Trouble | null): BackoutError {
  return new BackoutError({
    code: 'exec_stuck',
    what: `The Job ${name} does not get to run its command, and was deleted`,
    cause: redact(`${trouble?.reason} ${trouble?.message}`.trim()),
    next: 'see that its image can be had and that what it reads is there, then resume',
    exit: 'failed',
  })
}

export function timedOut(name: string, argv: readonly string[]): BackoutError {
  return new BackoutError({
    code: 'command_timed_out',
    what: `${argv[0] ?? ''} did not end in time; its Job ${name} was deleted`,
    next: 'raise `limits.exec`, or find out what it waits for',
    exit: 'failed',
  })
}

export function noContainer({ component }: Site, wanted: string | undefined): BackoutError {
  return new BackoutError({
    code: 'container_unknown',
    what: `${component} has no container ${wanted ?? ''} to run commands in`,
    next: 'name one of its containers in `container:`',
    exit: 'failed',
  })
}
