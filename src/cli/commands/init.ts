import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { BackoutError, EXIT } from '../../core/errors.ts'
import { compose } from '../init/compose.ts'
import { type Survey, survey } from '../init/look.ts'
import { ignoreHome, refuseExisting, writeConfig } from '../init/write.ts'
import { type Out, openOut, paint } from '../out.ts'
import type { Globals } from '../program.ts'
import { wrap } from '../text.ts'
import { saidConfig, wholePath } from '../wiring/find-config.ts'

const NEXT = [
  ['backout doctor', 'what is still missing to be able to go back'],
  ['backout capture RELEASE', 'while all is well, and before each upgrade'],
] as const

/** Looks at the folder and the machine, and writes a commented backout.yaml that loads and that doctor accepts. */
export async function init(globals: Globals, options: { force: boolean }): Promise<number> {
  const out = openOut({ json: globals.json })
  const file = wholePath(saidConfig(globals.config) ?? 'backout.yaml')
  const dir = dirname(file)
  if (!existsSync(dir)) throw noFolder(dir)
  if (!options.force) await refuseExisting(file)
  const found = await survey(dir)
  const config = await writeConfig(file, compose(found), options.force)
  const ignore = await ignoreHome(dir, config.home.at)
  const components = Object.keys(config.components)
  const next = NEXT.map(([line]) => line)
  out.data({ file, environment: found.environment, components, found: found.seen, gitignore: ignore, next })
  show(out, found, file, components, ignore)
  return EXIT.ok
}

function noFolder(dir: string): BackoutError {
  return new BackoutError({
    code: 'folder_missing',
    what: `There is no folder ${dir}`,
    next: `mkdir -p ${dir}`,
    exit: 'usage',
  })
}

function show(out: Out, found: Survey, file: string, components: readonly string[], ignore: string | null): void {
  const { dir, cut } = found.site
  out.line(paint('bold', `Looked at ${dir} and at what on this machine belongs to it`))
  if (found.seen.length === 0) out.line('  Nothing was found that could be taken back.')
  for (const { what, then } of found.seen) {
    const lines = `${what} -> ${then}`.length < out.width - 2 ? [`${what} -> ${then}`] : [what, `-> ${then}`]
    for (const [i, text] of lines.entries())
      for (const line of wrap(text, out.width, i === 0 ? '  ' : '     ')) out.line(line)
  }
  if (cut) out.line('  There are many files here; those deep down were not looked at.')
  out.line()
  const example = found.candidates.every(c => c.held !== null)
  const what = example ? 'an example to fill in' : components.join(', ')
  out.line(`${paint('bold', 'Written')} ${file}: ${what}`)
  if (ignore !== null) out.line(`${paint('bold', 'Added')} its home to ${ignore}, so that Git leaves it alone`)
  const above = upward(dir)
  if (above !== null) out.line(`Note: ${above} is another configuration; below ${dir} the new one counts.`)
  out.line('\nNext: read the file, then')
  for (const [line, why] of NEXT) out.line(`  ${line.padEnd(24)} ${why}`)
}

/** A configuration in a folder above, which this one hides from here. */
function upward(dir: string): string | null {
  for (let at = dirname(dir); at !== dirname(at); at = dirname(at)) {
    const file = join(at, 'backout.yaml')
    if (existsSync(file)) return file
  }
  return null
}
