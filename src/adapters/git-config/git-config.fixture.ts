import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stepAct } from '../../../test/conformance/walk.ts'
import { gitConfig } from './index.ts'

/** A repository with the files of release A at the tag v1, and a folder in which they are live. */
export async function makePlace(
  files: Record<string, string>,
  before: (dir: string) => Promise<void> = async () => {},
) {
  const dir = await mkdtemp(join(tmpdir(), 'backout-git-'))
  const repo = join(dir, 'repo')
  const live = join(dir, 'live')
  const git = (...argv: string[]) => {
    const who = ['-c', 'user.name=t', '-c', 'user.email=t@t', '-c', 'safe.directory=*']
    return execFileSync('git', ['-C', repo, ...who, ...argv], { encoding: 'utf8', stdio: 'pipe' }).trim()
  }
  const write = async (root: string, all: Record<string, string | null>) => {
    for (const [path, content] of Object.entries(all)) {
      await mkdir(join(root, path, '..'), { recursive: true })
      if (content === null) await rm(join(root, path), { force: true })
      else await writeFile(join(root, path), content)
    }
  }
  const commit = async (all: Record<string, string | null>, tag?: string) => {
    await write(join(repo, 'conf'), all)
    git('add', '-A')
    git('commit', '-qm', 'change', '--allow-empty')
    if (tag !== undefined) git('tag', tag)
    return git('rev-parse', 'HEAD')
  }
  await mkdir(repo)
  await mkdir(live)
  await before(dir)
  git('init', '-q', '-b', 'main')
  await commit(files, 'v1')
  await write(live, files)
  const { vault, backups } = stepAct()
  const ctx = { environment: 'test', component: 'conf', baseDir: dir, stateDir: join(dir, 'state'), vault, backups }
  const open = (more = {}) => {
    const settings = { repository: 'repo', from: 'conf', to: 'live', ...more }
    return gitConfig.open(gitConfig.config.parse(settings), ctx)
  }
  const dispose = () => rm(dir, { recursive: true, force: true })
  return {
    dir,
    repo,
    live,
    git,
    commit,
    open,
    dispose,
    write: (all: Record<string, string | null>) => write(live, all),
  }
}
