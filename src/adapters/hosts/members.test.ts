import { spawnSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { commandLine } from '../../../test/support/command-line.ts'
import { captured, contextIn, openHosts } from '../../../test/support/hosts.ts'
import { config } from './config.ts'
import { membersOf } from './members.ts'

let dir: string
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'backout-members-'))
})
afterAll(() => rm(dir, { recursive: true, force: true }))

const membersIn = (hosts: unknown) => membersOf(config.parse({ hosts, root: '/srv/shop' }), contextIn(dir))
const put = (name: string, text: string) => writeFile(join(dir, name), text)

describe('C7: the hosts of a fleet', () => {
  it('are listed in a file, one a line', async () => {
    await put('hosts.txt', '# the shop\nweb-1\n\n  deploy@web-2   # behind the lift\nlocal\n')
    expect(await membersIn({ file: 'hosts.txt' })).toEqual([
      { name: 'web-1', address: 'web-1' },
      { name: 'web-2', address: 'deploy@web-2' },
      { name: 'local', address: null },
    ])
  })

  it('are printed by a command, which may be a thousand of them', async () => {
    const members = await membersIn({ command: 'seq -f web-%04g.example.com 1 1000' })
    expect(members).toHaveLength(1000)
    expect(members.at(-1)).toEqual({ name: 'web-1000.example.com', address: 'web-1000.example.com' })
  })

  it.each([
    ['a file that is not there', { file: 'none.txt' }, /ENOENT/],
    ['an empty file', { file: 'empty.txt' }, /names no host/],
    [
      'a line that ssh would take for an option',
      { file: 'option.txt' },
      /option\.txt:2: "-oProxyCommand=x" is no host/,
    ],
    ['a host that is named twice', { file: 'twice.txt' }, /two hosts "web-1"/],
    ['a command that fails', { command: 'echo web-1; echo no cloud >&2; exit 3' }, /ended with 3: no cloud/],
    ['a command that is not there', { command: ['no-such-command'] }, /no-such-command/],
    ['a command that prints nothing', { command: 'true' }, /names no host/],
  ])('cannot be told from %s', async (_, hosts, why) => {
    await put('empty.txt', '# nobody\n')
    await put('option.txt', 'web-1\n-oProxyCommand=x\n')
    await put('twice.txt', 'web-1\ndeploy@web-1\n')
    await expect(membersIn(hosts)).rejects.toMatchObject({
      code: 'hosts_unknown',
      why: expect.stringMatching(why),
      exit: 'blocked',
    })
  })
})

const here = spawnSync('ansible-inventory', ['--version']).error === undefined
if (!here && process.env['CI'] === 'true') throw new Error('ansible-core is not installed, and CI must not skip it')
describe.skipIf(!here)(`C7: the hosts of an Ansible inventory${here ? '' : ' (skipped: no ansible-core)'}`, () => {
  beforeAll(async () => {
    await put(
      'inventory.ini',
      `[web]
web[01:03].example.com
web09 ansible_host=10.1.2.3 ansible_user=deploy ansible_port=2222

[here]
me ansible_connection=local

[shop:children]
web
here

[web:vars]
ansible_user=www
`,
    )
    await put(
      'inventory.yml',
      'all:\n  children:\n    db:\n      hosts:\n        db-1: { ansible_host: "fd00::1", ansible_port: 22 }\n',
    )
  })

  it('come with their addresses, users and ports, ranges and children resolved', async () => {
    const web = ['01', '02', '03'].map(n => ({ name: `web${n}.example.com`, address: `www@web${n}.example.com` }))
    const nine = { name: 'web09', address: 'ssh://deploy@10.1.2.3:2222' }
    expect(await membersIn({ inventory: 'inventory.ini', group: 'web' })).toEqual([...web, nine])
    const all = await membersIn({ inventory: 'inventory.ini', group: 'shop' })
    expect(all).toEqual([...web, nine, { name: 'me', address: null }])
    expect(await membersIn({ inventory: 'inventory.yml' })).toEqual([{ name: 'db-1', address: 'ssh://[fd00::1]:22' }])
  })

  it.each([
    ['has no such group', { inventory: 'inventory.ini', group: 'mail' }, /no group "mail"/],
    ['is not there', { inventory: 'none.ini' }, /there is no .*none\.ini/],
  ])('cannot be told where it %s', async (_, hosts, why) => {
    await expect(membersIn(hosts)).rejects.toMatchObject({ code: 'hosts_unknown', why: expect.stringMatching(why) })
  })
})

describe('a capture that cannot be made says what to do', () => {
  it('where the hosts cannot be told, and with the advice of whoever could not tell them', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'backout-advice-'))
    const settings = { hosts: { inventory: 'none.ini', group: 'web' }, root: '/srv/shop' }
    const config = { environment: 'shop', components: { shop: { adapter: 'hosts', settings } } }
    await writeFile(join(folder, 'backout.yaml'), JSON.stringify(config))
    const { code, stderr } = await commandLine(folder).backout(['capture', 'v1'])
    const said = stderr.replaceAll(/\s+/g, ' ')
    expect(code).toBe(3)
    expect(said).toMatch(/there is no \S*none\.ini/)
    expect(said).toContain('make `ansible-inventory -i none.ini --list` work')
    await rm(folder, { recursive: true })
  })

  it('where no host answers, with the reason that ssh gives', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'backout-advice-'))
    const target = await openHosts(folder, { hosts: ['no.such.host.invalid'], root: '/srv/shop' })
    await expect(captured(target)).rejects.toMatchObject({
      code: 'host_unreachable',
      why: expect.stringMatching(/no\.such\.host\.invalid: .*resolve/s),
      next: 'make `ssh -o BatchMode=yes no.such.host.invalid true` work, then capture again',
    })
    await target[Symbol.asyncDispose]()
    await rm(folder, { recursive: true })
  })
})
