export function bytes(n: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let value = n
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`
}

/** The text broken at spaces into lines of at most `width`; longer words stand alone. */
export function wrap(text: string, width: number, indent = ''): string[] {
  const out: string[] = []
  for (const paragraph of text.split('\n')) {
    let line = ''
    for (const word of paragraph.split(' ')) {
      if (line !== '' && line.length + 1 + word.length > width - indent.length) {
        out.push(indent + line)
        line = word
      } else line = line === '' ? word : `${line} ${word}`
    }
    out.push(indent + line)
  }
  return out
}

/** Cut to `width` with an ellipsis. */
export function cut(text: string, width: number): string {
  const one = text.replaceAll(/\s*\n\s*/g, ' ')
  return one.length <= width ? one : `${one.slice(0, Math.max(0, width - 1))}…`
}

/** Columns as wide as their widest cell, the last one cut to the terminal. */
export function table(rows: readonly (readonly string[])[], width: number, indent = ''): string[] {
  const columns = Math.max(0, ...rows.map(r => r.length))
  const widths = Array.from({ length: columns }, (_, i) => Math.max(...rows.map(r => (r[i] ?? '').length)))
  return rows.map(row => {
    const cells = row.map((cell, i) => (i === columns - 1 ? cell : cell.padEnd(widths[i] ?? 0)))
    return cut(indent + cells.join('  '), width).trimEnd()
  })
}
