import { BackoutError, PLAN_ANEW } from '../../core/errors.ts'
import type { View } from './look.ts'

export function gone(service: string): BackoutError {
  return new BackoutError({
    code: 'service_gone',
    what: `There is no service ${service} any more`,
    next: `${PLAN_ANEW}: it can be made anew (the rung recreate)`,
    exit: 'failed',
  })
}

export function moved(service: string, what: string): BackoutError {
  return new BackoutError({
    code: 'service_moved',
    what: `Somebody changed the service ${service} since the plan looked at ${what}; it was left alone`,
    next: `find out who deploys there, then ${PLAN_ANEW}`,
    exit: 'moved',
  })
}

export function replaced(service: string, { service: now }: View): BackoutError {
  const state = now.UpdateStatus?.State
  return new BackoutError({
    code: 'service_moved',
    what: `The specification of ${service} was replaced while its tasks were brought to the release`,
    cause: state === undefined ? undefined : `Swarm says ${state}: ${now.UpdateStatus?.Message ?? ''}`,
    next: `find out who deploys there, then ${PLAN_ANEW}`,
    exit: 'moved',
  })
}

export function goesOn(service: string, why: string): BackoutError {
  return new BackoutError({
    code: 'update_goes_on',
    what: `The update of ${service} could not be stopped where it was`,
    cause: why,
    next: `look at \`docker service ps ${service}\`, then resume`,
    exit: 'failed',
  })
}

export function stuck(service: string, why: string): BackoutError {
  return new BackoutError({
    code: 'update_stuck',
    what: `The service ${service} does not get to the release`,
    cause: why,
    next: `look at \`docker service ps --no-trunc ${service}\``,
    exit: 'failed',
  })
}
