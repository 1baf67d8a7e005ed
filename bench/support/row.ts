/** One line of the table. */
export interface Row {
  readonly what: string
  /** Figures with their units. */
  readonly backout: string
  readonly compared: string
  readonly ratio: string
  /** null: nothing was promised; the line is there to compare. */
  readonly goal: { readonly text: string; readonly met: boolean } | null
}

/** A line for what could not be measured on this machine. */
export function notHere(what: string, goal: string | null, reason: string): Row {
  return {
    what,
    backout: '',
    compared: `not here: ${reason}`,
    ratio: '',
    goal: goal === null ? null : { text: goal, met: false },
  }
}

export type Bench = () => Promise<Row[]>

/** Milliseconds for people: three figures. */
export function ms(value: number): string {
  return value >= 1000 ? `${figures(value / 1000)} s` : `${figures(value)} ms`
}

export function times(value: number): string {
  return `${figures(value)}x`
}

export function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`
}

function figures(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)
}

export function markdown(rows: readonly Row[]): string {
  const lines = rows.map(r => [r.what, r.backout, r.compared, r.ratio, r.goal === null ? '' : goalOf(r.goal)])
  const head = ['what', 'Backout', 'compared with', 'ratio', 'goal']
  return [head, head.map(() => '---'), ...lines].map(cells => `| ${cells.join(' | ')} |`).join('\n')
}

function goalOf(goal: NonNullable<Row['goal']>): string {
  return `${goal.text}: ${goal.met ? 'met' : '**missed**'}`
}
