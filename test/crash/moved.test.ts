import { execFileSync } from 'node:child_process'
import { appendFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { backout } from './cli.ts'
import { begin, expectExit, madeWorld } from './crash.ts'
import type { World } from './world.ts'

vi.setConfig({ testTimeout: 120_000 })

let dir: string
let world: World

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'backout-moved-'))
  world = await madeWorld(join(dir, 'world'))
}, 300_000)

afterAll(async () => {
  await world?.dispose()
  await rm(dir, { recursive: true, force: true })
})

async function untouched(): Promise<void> {
  expect(await world.effects()).toEqual([])
  expect(world.traffic.writes).toEqual([])
}

/** Codes of the error and of the blockers in an answer with --json. */
function codesIn(stdout: string): string[] {
  const said = JSON.parse(stdout.trim().split('\n')[0] ?? '') as {
    error?: { code: string }
    findings?: { level: string; code: string }[]
  }
  const blockers = (said.findings ?? []).filter(f => f.level === 'blocker').map(f => f.code)
  return said.error === undefined ? blockers : [said.error.code]
}

describe('C1: a world that changed since the plan', () => {
  const changes: Record<string, { change: () => void; names: string }> = {
    'a file edited': { change: () => appendFileSync(world.path('shop.env'), 'MORE=1\n'), names: 'env changed' },
    'another release deployed': {
      change: () => execFileSync('ln', ['-sfn', 'releases/v1', world.path('app/current')]),
      names: 'app changed',
    },
    'a migration more': {
      change: () => world.sql('shop.db', "INSERT INTO knex_migrations (name, batch) VALUES ('004_more', 3)"),
      names: 'db changed',
    },
    'backout.yaml edited': {
      change: () => {
        const file = world.path('backout.yaml')
        writeFileSync(file, readFileSync(file, 'utf8').replace('"interval": "50ms"', '"interval": "60ms"'))
      },
      names: 'backout.yaml was changed',
    },
  }
  it.each(Object.keys(changes))('%s: nothing is touched, whoever said yes', async what => {
    await world.reset()
    changes[what]?.change()
    const ended = expectExit(await begin(world), 4)
    expect(`${ended.stdout}${ended.stderr}`).toContain(changes[what]?.names)
    await untouched()
  })
})

it('C1: a service that does not run at this moment is one more reason to go back', async () => {
  await world.reset()
  execFileSync(world.path('tools/service.sh'), ['stop', 'a'])
  const ended = expectExit(await begin(world), 0)
  expect(ended.stdout).toContain('is back on v1, verified')
})

describe('C1: a target that cannot be gone back to', () => {
  const gone: Record<string, { take: () => Promise<void> | void; code: string; exit?: number; argv?: string[] }> = {
    'never captured': { take: () => {}, code: 'release_unknown', argv: ['plan', '--to', 'v0'] },
    'marked bad': {
      take: async () => void expectExit(await backout(world, 'release', 'mark', 'v1', 'bad', '--why', 'leaks'), 0),
      code: 'release_bad',
    },
    'release folder gone': { take: () => rm(world.path('app/releases/v1'), { recursive: true }), code: 'release_gone' },
    'release folder altered': {
      take: () => writeFile(world.path('app/releases/v1/VERSION'), 'v1 '),
      code: 'artefact_altered',
    },
    'commit gone': { take: forgetCommit, code: 'commit_gone' },
    'backup gone': { take: () => rm(backupFolder(), { recursive: true }), code: 'backup_missing' },
    'backup altered': {
      take: () => {
        const [file = ''] = readdirSync(backupFolder()).filter(name => name !== 'backup.json')
        appendFileSync(join(backupFolder(), file), 'x')
      },
      code: 'backup_altered',
    },
    'capture altered': {
      take: async () => {
        const folder = world.path('.backout/environments/shop/releases/v1/captures')
        const file = join(folder, readdirSync(folder)[0] ?? '')
        await writeFile(file, (await readFile(file, 'utf8')).replace('index-1', 'index-9'))
      },
      code: 'release_altered',
      exit: 11,
    },
    'a word on it altered': {
      take: async () => {
        const file = world.path('.backout/environments/shop/releases/v1/marks.json')
        await writeFile(file, (await readFile(file, 'utf8')).replace('said so at its capture', 'its gates held'))
      },
      code: 'ledger_altered',
      exit: 11,
    },
    'its backup made to look proven': {
      take: async () => {
        const file = join(backupFolder(), 'backup.json')
        await writeFile(file, (await readFile(file, 'utf8')).replace(/"ms": \d+/, '"ms": 1'))
      },
      code: 'backup_missing',
    },
    'vault emptied': { take: () => rm(world.path('.backout/vault'), { recursive: true }), code: 'content_gone' },
  }
  it.each(Object.keys(gone))('%s: says so, and nothing is touched', async what => {
    await world.reset()
    const { take, code, exit = 3, argv = ['plan', '--to', 'v1'] } = gone[what] ?? { take: () => {}, code: '' }
    await take()
    const planned = expectExit(await backout(world, '--json', ...argv), exit)
    expect(codesIn(planned.stdout)).toContain(code)
    if (argv[0] === 'plan' && argv[2] === 'v1') {
      const ended = await begin(world)
      expect([3, 4, 9, 11]).toContain(ended.code)
    }
    await untouched()
  })

  it('without any release known to be good it names those that there are', async () => {
    await world.reset()
    expectExit(await backout(world, 'release', 'mark', 'v1', 'captured', '--why', 'not sure'), 0)
    const ended = expectExit(await backout(world, 'plan'), 3)
    expect(ended.stderr).toContain('[no_known_good]')
    expect(ended.stderr).toContain('v1 (captured)')
  })
})

function backupFolder(): string {
  const folder = world.path('.backout/environments/shop/backups/archive')
  return join(folder, readdirSync(folder)[0] ?? '')
}

/** The history is written anew, and what it was is collected. */
function forgetCommit(): void {
  const git = (...argv: string[]) => {
    const who = ['-c', 'user.name=ann', '-c', 'user.email=ann@example.org']
    execFileSync('git', ['-C', world.path('conf.git'), ...who, ...argv], { stdio: 'ignore' })
  }
  git('reset', '--soft', 'start')
  git('commit', '-q', '-m', 'anew')
  git('tag', '-d', 'v1', 'v2')
  git('reflog', 'expire', '--expire=now', '--all')
  git('gc', '-q', '--prune=now')
}
