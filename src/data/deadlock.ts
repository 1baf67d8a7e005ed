/** A deadlock is somebody else's turn: what was taken back whole can be done once more. */
const TRIES = 4

/** Does a transaction again that the server took back to end a deadlock. Throws what the last try threw. */
export async function afterDeadlocks<T>(isDeadlock: (error: unknown) => boolean, once: () => Promise<T>): Promise<T> {
  for (let tried = 1; ; tried++) {
    try {
      return await once()
    } catch (error) {
      if (tried === TRIES || !isDeadlock(error)) throw error
    }
  }
}
