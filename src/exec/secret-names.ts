/** Names of variables that hold secrets by custom. Secrets get rotated, so they keep today's value unless told otherwise. */
export const SECRET_NAMES: readonly string[] =
  '*PASSWORD* *PASSWD* *SECRET* *TOKEN* *CREDENTIAL* *PRIVATE* *_KEY *_DSN DATABASE_URL *_DATABASE_URL REDIS_URL AMQP_URL MONGODB_URI'.split(
    ' ',
  )

export interface Keeping {
  /** Patterns of names that hold secrets. */
  readonly secrets: readonly string[]
  /** Secrets that go back with the release all the same. */
  readonly pinned: readonly string[]
  /** Others that keep today's value. */
  readonly current: readonly string[]
}

/** Whether a variable keeps the value that it has today. */
export function keepsToday({ secrets, pinned, current }: Keeping, name: string): boolean {
  if (matches(pinned, name)) return false
  return matches(current, name) || matches(secrets, name)
}

function matches(patterns: readonly string[], name: string): boolean {
  return patterns.some(pattern => {
    const parts = pattern.split('*').map(part => part.replaceAll(/[.+?^${}()|[\]\\]/g, '\\$&'))
    return new RegExp(`^${parts.join('.*')}$`, 'i').test(name)
  })
}
