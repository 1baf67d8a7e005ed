import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/** What has one command run by a clock that is so many milliseconds ahead. `folder`: where its code may lie. */
export async function shifted(folder: string, ms: number): Promise<{ NODE_OPTIONS: string }> {
  const file = join(folder, 'shifted-clock.mjs')
  await writeFile(
    file,
    `const real = Date
globalThis.Date = class extends real {
  constructor(...of) {
    if (of.length === 0) super(real.now() + ${ms})
    else super(...of)
  }
  static now() {
    return real.now() + ${ms}
  }
}
`,
  )
  return { NODE_OPTIONS: `--import=${file}` }
}
