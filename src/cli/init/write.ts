import { randomBytes } from 'node:crypto'
import { link, open, readFile, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { type Config, loadConfig } from '../../config/load.ts'
import { BackoutError } from '../../core/errors.ts'
import { runLocal } from '../../exec/local.ts'
import { syncFolder, writeWhole } from '../../ledger/files.ts'
import { catalogue } from '../wiring/environment.ts'

/** Throws `config_exists` where there is a file already, also one that came about meanwhile. */
export async function refuseExisting(file: string): Promise<void> {
  if ((await stat(file).catch(() => null)) !== null) throw exists(file)
}

function exists(file: string): BackoutError {
  return new BackoutError({
    code: 'config_exists',
    what: `${file} is there already, and is not replaced`,
    next: 'backout doctor says what it lacks; to replace it: backout init --force',
    exit: 'usage',
  })
}

/** Puts the text there at once, after it was loaded as every command loads it. Answers what was loaded. */
export async function writeConfig(file: string, text: string, force: boolean): Promise<Config> {
  const aside = join(dirname(file), `.${basename(file)}.${randomBytes(4).toString('hex')}.new`)
  try {
    await writeAside(aside, text)
    const config = await loadConfig(aside, catalogue)
    if (force) await rename(aside, file)
    else await placeNew(aside, file)
    await syncFolder(dirname(file))
    return { ...config, file }
  } finally {
    await rm(aside, { force: true })
  }
}

async function writeAside(aside: string, text: string): Promise<void> {
  const made = await open(aside, 'wx', 0o644).catch((error: NodeJS.ErrnoException) => {
    throw new BackoutError({
      code: 'config_not_written',
      what: `Nothing can be written in ${dirname(aside)}`,
      cause: error.message,
      next: 'look at the rights of the folder; or name another file: --config FILE',
      exit: 'usage',
    })
  })
  try {
    await made.writeFile(text)
    await made.sync()
  } finally {
    await made.close()
  }
}

/** Unlike a rename, a link never replaces what is there. */
async function placeNew(aside: string, file: string): Promise<void> {
  try {
    await link(aside, file)
  } catch (error) {
    throw (error as NodeJS.ErrnoException).code === 'EEXIST' ? exists(file) : error
  }
}

/** Adds the home to .gitignore beside the file, where a Git repository would take it in. Answers the .gitignore's path. */
export async function ignoreHome(dir: string, home: string): Promise<string | null> {
  const git = (...argv: string[]) => runLocal({ argv: ['git', '-C', dir, ...argv], limitMs: 10_000 }).catch(() => null)
  const ignored = await git('check-ignore', '-q', '--', join(home, 'journal.db'))
  if (ignored?.code !== 1) return null
  const path = join(dir, '.gitignore')
  const before = await readFile(path, 'utf8').catch(() => '')
  const gap = before === '' || before.endsWith('\n') ? '' : '\n'
  await writeWhole(path, `${before}${gap}${home}/\n`, 0o644)
  return path
}
