interface Timer {
  at: number
  run: () => void
  real: NodeJS.Timeout
}

/** The cluster's time: the machine's, and whatever a test has put it forward by. */
export class Clock {
  #ahead = 0
  readonly #timers = new Set<Timer>()

  now(): number {
    return Date.now() + this.#ahead
  }

  /** As `metav1.Time` writes it: whole seconds. */
  stamp(): string {
    return new Date(this.now()).toISOString().replace(/\.\d+Z$/, 'Z')
  }

  after(ms: number, run: () => void): () => void {
    const timer: Timer = { at: this.now() + ms, run, real: setTimeout(() => this.#fire(timer), Math.min(ms, 2 ** 30)) }
    timer.real.unref()
    this.#timers.add(timer)
    return () => this.#drop(timer)
  }

  /** Puts the clock forward; what was due by then happens, in order. */
  advance(ms: number): void {
    this.#ahead += ms
    const due = [...this.#timers].filter(timer => timer.at <= this.now())
    for (const timer of due.sort((a, b) => a.at - b.at)) this.#fire(timer)
  }

  stop(): void {
    for (const timer of this.#timers) this.#drop(timer)
  }

  #fire(timer: Timer): void {
    if (!this.#timers.has(timer)) return
    this.#drop(timer)
    timer.run()
  }

  #drop(timer: Timer): void {
    clearTimeout(timer.real)
    this.#timers.delete(timer)
  }
}
