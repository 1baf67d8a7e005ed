import { join } from 'node:path'
import type { Command } from 'commander'
import { describe, expect, it } from 'vitest'
import { build } from '../program.ts'
import { calledIn, FILES } from './call.ts'
import { remoteHome } from './home.ts'

describe('a home of another machine, as it is written', () => {
  const at = (home: string) => remoteHome('backout.yaml', `environment: x\nhome: ${home}\n`)

  it('is a host, maybe a user and a port, and an absolute path', () => {
    expect(at('ssh://ops1/var/lib/backout')).toEqual({
      address: 'ops1',
      port: null,
      path: '/var/lib/backout',
      command: 'backout',
    })
    expect(at('ssh://deploy@10.0.0.7:2222/srv/b/')).toMatchObject({
      address: 'deploy@10.0.0.7',
      port: '2222',
      path: '/srv/b',
    })
    expect(at('ssh://[fe80::1]/srv/b')).toMatchObject({ address: 'fe80::1' })
    expect(at('{ at: "ssh://ops1/x", command: npx backout }')).toMatchObject({ command: 'npx backout' })
    expect(at('.backout # not ssh://')).toBeNull()
    expect(remoteHome('backout.yaml', 'home: [ssh://')).toBeNull()
  })

  it.each([
    'ssh://ops1',
    'ssh://ops1/',
    'ssh:///var',
    'ssh://-oProxyCommand=touch%20x/var',
    'ssh://a b/var',
    'ssh://o:p@h/x',
  ])('is refused as %s', url => {
    expect(() => at(`"${url}"`)).toThrow(expect.objectContaining({ code: 'home_invalid', exit: 'usage' }) as Error)
  })
})

describe('a command line for another machine', () => {
  const call = (...argv: string[]) => calledIn(argv, build)

  it('is the same one, with files called by the names that they have there', async () => {
    const run = await call('-c', 'x.yaml', 'run', './plans/p.json', '-y', '--json', '--reason', '--detach')
    expect(run?.argv).toEqual(['--json', 'run', '--yes', '--reason=--detach', '--', 'p.json'])
    expect(run?.carried).toEqual([{ local: join(process.cwd(), 'plans/p.json'), name: 'p.json', way: 'there' }])
    expect((await call('release', 'export', '--recipient', 'age1x', 'v1', '/a/v1'))?.argv).toEqual([
      'release',
      'export',
      '--recipient=age1x',
      '--',
      'v1',
      'v1',
    ])
    const both = await call('release', 'import', 'a/key', '--identity', 'b/key')
    expect(both?.carried.map(f => f.name)).toEqual(['key', '1-key'])
    expect((await call('resolve', 'db/restore', '--not-done'))?.argv).toEqual([
      'resolve',
      '--not-done',
      '--',
      'db/restore',
    ])
  })

  it.each([
    ['--help'],
    ['--version'],
    ['init'],
    ['schema'],
    ['adapters'],
    ['run', '--help'],
    ['nonsense'],
    ['assess'],
    [],
  ])('stays here: %s %s', async (...argv) => {
    expect(await call(...argv)).toBeNull()
  })

  it('knows which way each file goes that a command names', () => {
    const found: string[] = []
    const walk = (command: Command, path: string[]): void => {
      for (const inner of command.commands) walk(inner, [...path, inner.name()])
      const name = path.join(' ')
      for (const { flags, long } of command.options) {
        if (/file|path|folder/.test(flags) && name !== '') found.push(`${name} ${long}`)
      }
      for (const [i, arg] of command.registeredArguments.entries()) {
        if (/file|path|folder|^plan$/.test(arg.name())) found.push(`${name} ${i}`)
      }
    }
    walk(
      build(async () => {}),
      [],
    )
    const known = Object.entries(FILES).flatMap(([name, ways]) => Object.keys(ways).map(way => `${name} ${way}`))
    expect(found.toSorted()).toEqual(known.toSorted())
  })
})
