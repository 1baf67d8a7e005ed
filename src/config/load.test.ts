import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { afterAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import type { Adapter } from '../core/contract.ts'
import { BackoutError } from '../core/errors.ts'
import { HIDDEN, Secret } from '../core/secret.ts'
import { command, duration, text } from './fields.ts'
import { type Catalogue, type Config, loadConfig } from './load.ts'

const settings = z.strictObject({
  name: z.string().describe('shown, so no secret'),
  password: text().optional(),
  run: command().optional(),
  every: duration().default(5_000),
  parts: z.array(z.strictObject({ weight: z.number() })).default([]),
})
const memory = { kind: 'memory', config: settings } as unknown as Adapter
const loaded: string[] = []
const catalogue: Catalogue = {
  kinds: ['memory', 'memorandum', 'file'],
  adapter: async kind => (loaded.push(kind), memory),
  probe: z.strictObject({ kind: z.literal('http'), url: text() }),
}

const dir = mkdtempSync(join(tmpdir(), 'backout-config-'))
const FILE = join(dir, 'backout.yaml')
afterAll(() => rm(dir, { recursive: true, force: true }))

function load(content: string | Uint8Array): Promise<Config> {
  writeFileSync(FILE, content)
  return loadConfig(FILE, catalogue)
}

const BASE = 'environment: production\ncomponents:\n  app:\n    adapter: memory\n    settings:\n      name: shop\n'
/** BASE with lines of its own at the end. */
const and = (...lines: string[]) => `${BASE}${lines.join('\n')}\n`

/** The mistakes of a file: where, the line that is shown, what is said under it. */
async function mistakes(content: string | Uint8Array): Promise<{ at: string; line: string; says: string }[]> {
  const error = await load(content).then(
    () => null,
    (reason: unknown) => reason,
  )
  if (!(error instanceof BackoutError)) throw new Error(`no error of ours: ${inspect(error)}`)
  expect(error).toMatchObject({ code: 'config_invalid', exit: 'usage' })
  return error.message.split('\n\n').map(block => {
    const [place = '', line = '', caret = '', ...rest] = block.split('\n')
    const at = place.replace(`${FILE}:`, '')
    expectCaret(at, line, caret)
    return {
      at,
      line: line.replace(/^\d+ \| /, ''),
      says: [caret.trim().replace(/^\^ /, ''), ...rest.map(text => text.trim())].join(' '),
    }
  })
}

/** The caret stands under the column that is said. */
function expectCaret(at: string, line: string, caret: string): void {
  const [row = '', column = ''] = at.split(':')
  if (line.includes('…')) return
  expect(caret.indexOf('^')).toBe(`${row} | `.length + Number(column) - 1)
}

const first = async (content: string | Uint8Array) => (await mistakes(content))[0]

describe('a configuration', () => {
  it('is read with its defaults, and only the adapters that it uses are loaded', async () => {
    loaded.length = 0
    const config = await load(BASE)
    expect(config).toMatchObject({
      environment: 'production',
      home: { at: '.backout', command: 'backout' },
      components: { app: { dependsOn: [], settings: { name: 'shop', every: 5_000 } } },
      policy: { onFailure: 'ask', concurrency: 10, lossHeadroom: 10, verify: [] },
      baseDir: dir,
    })
    expect(loaded).toEqual(['memory'])
  })

  it.each([
    ['a byte order mark', `\uFEFF${BASE}`],
    ['the ends of lines of Windows', BASE.replaceAll('\n', '\r\n')],
    ['comments and blanks', `# a comment\n\n${BASE}   \n# end`],
    [
      'JSON',
      JSON.stringify({
        environment: 'production',
        components: { app: { adapter: 'memory', settings: { name: 'shop' } } },
      }),
    ],
    [
      'anchors',
      `environment: &e production\ncomponents:\n  app: {adapter: memory, settings: &s {name: shop}}\n  b: {adapter: memory, settings: *s}\n`,
    ],
  ])('may have %s', async (_, content) => {
    const config = await load(content)
    expect(config.environment).toBe('production')
    expect(config.components['app']?.settings).toMatchObject({ name: 'shop' })
  })

  it('has a hash of every setting, not of comments, order or secrets', async () => {
    const hash = async (content: string) => (await load(content)).hash
    const one = await hash(and('policy: {onFailure: stop, concurrency: 3}'))
    expect(await hash(and('# why', 'policy: {concurrency: 3, onFailure: stop}'))).toBe(one)
    expect(await hash(and('policy: {onFailure: stop, concurrency: 4}'))).not.toBe(one)
    const secret = (name: string) => hash(and(`      password: \${env:${name}}`))
    process.env['BACKOUT_TEST_PW'] = 'one'
    const before = await secret('BACKOUT_TEST_PW')
    process.env['BACKOUT_TEST_PW'] = 'two'
    expect(await secret('BACKOUT_TEST_PW')).toBe(before)
    expect(await secret('OTHER')).not.toBe(before)
    delete process.env['BACKOUT_TEST_PW']
  })

  it.each<[string, string, (file: string) => void]>([
    ['is not there', 'it is not there', () => {}],
    ['is a folder', 'it is a folder', file => mkdirSync(file)],
    ['is a pipe', 'it is no file', file => execFileSync('sh', ['-c', 'mkfifo "$1"', 'sh', file])],
    ['is a link to nothing', 'it is not there', file => symlinkSync('nowhere', file)],
    ['is huge', 'it has 9.5 MiB, and 1 MiB is the most', file => writeFileSync(file, 'a: 1\n'.repeat(2_000_000))],
    ['is of another encoding', 'it is no text in UTF-8', file => writeFileSync(file, Buffer.from(BASE, 'utf16le'))],
  ])('that %s is said with its path, why, and what to do', async (_, why, make) => {
    const file = join(mkdtempSync(join(dir, 'no-')), 'gone.yaml')
    make(file)
    await expect(loadConfig(file, catalogue)).rejects.toMatchObject({
      code: 'config_unreadable',
      exit: 'usage',
      message: `${file} cannot be read`,
      why: expect.stringContaining(why) as string,
      next: expect.stringContaining('--config') as string,
    })
  })

  it('may take settings in from another place of itself', async () => {
    const config = await load(and('  b:', '    <<: {adapter: memory, settings: {name: x}}', '    dependsOn: [app]'))
    expect(config.components['b']).toMatchObject({ dependsOn: ['app'], settings: { name: 'x' } })
    const wrong = await first(and('  b: &b {adapter: memory, nmae: 1}', '  c: {<<: *b}'))
    expect(wrong).toMatchObject({ at: '7:27', says: expect.stringContaining('"nmae"') as string })
  })

  it('with as many keys as fit into it is checked in seconds', async () => {
    const keys = Array.from({ length: 100_000 }, (_, i) => `k${i}: 1`)
    const began = performance.now()
    const error = (await load(keys.join('\n')).catch((e: unknown) => e)) as Error
    expect(error.message).toMatch(/and \d+ more$/)
    expect(performance.now() - began).toBeLessThan(20_000)
  }, 60_000)
})

describe('a mistake', () => {
  it.each<[string, string, string, RegExp]>([
    [
      'a key that there is not',
      and('polcy: {}'),
      '7:1',
      /polcy: there is no setting "polcy" here did you mean "policy"\?/,
    ],
    ['one further in', and('policy:', '  onfailure: ask'), '8:3', /policy.onfailure.*did you mean "onFailure"/],
    ['one in settings', and('      nmae: x'), '7:7', /components.app.settings.nmae.*did you mean "name"/],
    [
      'one in a list',
      and('      parts:', '        - weight: 1', '        - wieght: 1'),
      '9:11',
      /parts.1.weight: missing/,
    ],
    [
      'a phase that there is not',
      and('hooks:', '  retrun: {before: {run: x}}'),
      '8:3',
      /hooks.retrun.*did you mean "return"/,
    ],
    ['a wrong type where several can stand', and('home: 5'), '7:7', /home: expected a text or a mapping docs/],
    ['a name that every object has', and('gates:', '  constructor: {}'), '8:3', /gates.constructor: expected another/],
    ['a name that is lost when it is read', and('gates:', '  __proto__: {}'), '8:3', /"__proto__" cannot be the name/],
    ['a wrong type', and('policy:', '  concurrency: many'), '8:16', /expected a number, received a text/],
    [
      'a wrong type in settings',
      BASE.replace('name: shop', 'name: 5'),
      '6:13',
      /settings.name: expected a text, received a number/,
    ],
    [
      'a list for a mapping',
      'environment: production\ncomponents: []\n',
      '2:13',
      /components: expected a mapping, received a list/,
    ],
    [
      'nothing for something',
      'environment:\ncomponents: {}\n',
      '1:13',
      /environment: expected a text, received nothing/,
    ],
    ['something missing', 'environment: production\n', '1:1', /components: missing: expected a mapping/],
    [
      'a missing command',
      and('hooks:', '  code: {before: {limit: 5s}}'),
      '8:18',
      /run: missing: expected a command: a list of words/,
    ],
    ['a command of numbers', and('      run: [1, 2]'), '7:13', /settings.run.0: expected a string/],
    ['a number for a duration', and('      every: 5'), '7:14', /every: expected a duration such as "500ms", "30s"/],
    ['a duration without a unit', and('      every: "5"'), '7:14', /every: expected a duration/],
    [
      'a duration that no timer counts',
      and('      every: 1000h'),
      '7:14',
      /every: expected a duration .*, 24d at most/,
    ],
    ['a number out of range', and('policy: {concurrency: 0}'), '7:23', /concurrency: expected 1 at least/],
    [
      'none of the words',
      and('policy: {onFailure: panic}'),
      '7:21',
      /onFailure: "panic" cannot stand here use one of ask, take, stop/,
    ],
    ['a name with a blank', 'environment: my shop\ncomponents: {}\n', '1:14', /environment: expected letters, digits/],
    [
      'a component with a blank',
      'environment: p\ncomponents:\n  my app: {adapter: memory}\n',
      '3:3',
      /my app: expected letters, digits/,
    ],
    [
      'an adapter that there is not',
      'environment: p\ncomponents: {a: {adapter: memry}}\n',
      '2:27',
      /no adapter "memry" did you mean "memory"\? \(use one of memory/,
    ],
    [
      'a component that there is not',
      BASE.replace('adapter: memory', 'adapter: memory\n    dependsOn: [apps]'),
      '5:17',
      /no component "apps" did you mean "app"/,
    ],
    [
      'a probe that there is not',
      and('gates:', '  g: {probes: [http]}'),
      '8:16',
      /no probe "http" define it under probes:/,
    ],
    [
      'a gate that there is not',
      and(
        'policy:',
        '  verify:',
        '    - helthy',
        'probes: {p: {kind: http, url: u}}',
        'gates: {healthy: {probes: [p]}}',
      ),
      '9:7',
      /no gate "helthy" did you mean "healthy"/,
    ],
    [
      'letters that changed places',
      BASE.replace('app:', 'db:').replace('adapter: memory', 'adapter: memory\n    dependsOn: [bd]'),
      '5:17',
      /no component "bd" did you mean "db"\?/,
    ],
    ['a word that is nearly right', and('policy: {onFailure: aks}'), '7:21', /did you mean "ask"\?/],
    ['an empty list', and('gates: {g: {probes: []}}'), '7:21', /expected 1 at least in this list/],
    ['a home in "~"', and('home: ~/backout'), '7:7', /home: "~" stands for no folder here write the whole path/],
    ['a home in "~", at', and('home: {at: "~ann/x"}'), '7:12', /home.at: "~" stands for no folder/],
    ['a home that is nothing', and('home: ""'), '7:7', /home: expected a folder, and it is empty leave it out/],
    [
      'a secret where a mapping could stand too',
      and('home: ${env:HOME_OF_BACKOUT}'),
      '7:7',
      /home: a placeholder cannot be used here/,
    ],
    [
      'a misspelt source of a secret',
      and('      password: "${evn:PW}"'),
      '7:17',
      /"evn" is no source.*did you mean "env"/,
    ],
    ['another spelling of it', and('      password: x${ENV:PW}'), '7:17', /"ENV" is no source of a secret/],
    ['a secret of no name', and('      password: "${env: }"'), '7:17', /"\$\{env: \}" names nothing/],
    ['a secret that is not closed', and('      password: ${file:pw'), '7:17', /is not closed by a "\}"/],
    ['characters for a terminal', and('polcy: "\u001b[31m\u009b"'), '7:1', /there is no setting "polcy"/],
    ['a gate of the watch', and('policy: {watch: {gates: [g]}}'), '7:26', /policy.watch.gates.0: there is no gate "g"/],
    [
      'a gate that can never pass',
      and('probes: {p: {kind: http, url: u}}', 'gates: {g: {probes: [p], pass: 5}}'),
      '8:32',
      /5 passes in a row cannot be seen in 3 attempts/,
    ],
    [
      'itself to depend on',
      BASE.replace('adapter: memory', 'adapter: memory\n    dependsOn: [app]'),
      '5:16',
      /in a circle: app -> app/,
    ],
    [
      'a secret where it would be shown',
      BASE.replace('shop', '${env:SHOP}'),
      '6:13',
      /settings.name: a placeholder cannot be used here/,
    ],
    [
      'a tab',
      'environment: production\ncomponents:\n\tapp: 1\n',
      '3:1',
      /Tabs are not allowed as indentation indent with spaces/,
    ],
    [
      'a key twice',
      and('policy: {}', 'policy: {}'),
      '8:1',
      /"policy" stands here twice, first in line 7 take one of the two out/,
    ],
    ['an open bracket', 'environment: [a\n', '1:16', /must be sufficiently indented and end with a \]/],
    ['two documents', `${BASE}---\n${BASE}`, '7:1', /a second document begins here/],
    ['an alias of nothing', 'environment: *e\ncomponents: {}\n', '1:14', /no anchor "&e" stands before this/],
    ['an alias inside of itself', and('x: &x', '  y: *x'), '8:6', /"\*x" stands for something that it is a part of/],
    ['an empty file', '', '1:1', /expected settings such as "environment: production"/],
    ['a comment only', '# soon\n', '1:1', /expected settings such as/],
    ['a list', '- environment: production\n', '1:1', /expected settings such as/],
    ['a line of prose', 'take it back, please\n', '1:1', /expected settings such as/],
  ])('is shown with its place and what to do: %s', async (_, content, at, says) => {
    const all = await mistakes(content)
    expect(all.map(m => m.at)).toContain(at)
    const it = all.find(m => m.at === at && says.test(m.says))
    expect(it, JSON.stringify(all)).toBeDefined()
    const line = content.split('\n')[Number(at.split(':')[0]) - 1] ?? ''
    expect(it?.line).toBe(line.replaceAll(/[\u001b\u009b]/g, '\uFFFD'))
  })

  it('is shown where it is with the ends of lines of Windows, a byte order mark and tabs too', async () => {
    expect(await first(`\uFEFF${and('polcy: {}').replaceAll('\n', '\r\n')}`)).toMatchObject({
      at: '7:1',
      line: 'polcy: {}',
    })
    writeFileSync(FILE, and('policy:\t\t{onfailure: ask}'))
    const error = (await loadConfig(FILE, catalogue).catch((e: unknown) => e)) as Error
    expect(error.message.split('\n')[2]).toMatch(/^ {12}\t\t\^|^ +\t\t \^/)
  })

  it('comes with all the others, in their order', async () => {
    const all = await mistakes('enviroment: x\ncomponents:\n  app: {adapter: memory, settings: {name: 1, nmae: 2}}\n')
    expect(all.map(m => m.at)).toEqual(['1:1', '1:1'])
    const deeper = await mistakes(and('policy: {onfailure: ask}', 'gates: {g: {probes: []}}'))
    expect(deeper.map(m => m.at)).toEqual(['7:10', '8:21'])
  })

  it('offers no name that has nothing in common with the wrong one', async () => {
    const it = await first(BASE.replace('adapter: memory', 'adapter: memory\n    dependsOn: [b]'))
    expect(it?.says).toContain('use one of app')
    expect(it?.says).not.toContain('did you mean')
  })

  it('in a circle of components names all of them', async () => {
    const part = (id: string, on: string) => `  ${id}: {adapter: memory, dependsOn: [${on}], settings: {name: x}}`
    const content = ['environment: p', 'components:', part('a', 'b'), part('b', 'c'), part('c', 'a'), ''].join('\n')
    expect(await first(content)).toMatchObject({ says: expect.stringContaining('a -> b -> c -> a') as string })
  })

  it('does not fill the screen where a line or the file is huge', async () => {
    const long = await first(
      `environment: production\ncomponents: {app: {adapter: memory, settings: {name: x,${' '.repeat(900_000)}nmae: x}}}\n`,
    )
    expect(long?.line.length).toBeLessThan(200)
    expect(long?.line).toContain('nmae: x')
    const many = Array.from({ length: 3000 }, (_, i) => `  c${i}: {adapter: nothing}`)
    const error = (await load(['environment: p', 'components:', ...many, ''].join('\n')).catch(
      (e: unknown) => e,
    )) as Error
    expect(error.message.split('\n\n')).toHaveLength(31)
    expect(error.message).toMatch(/and 2970 more$/)
  })

  it('is found in aliases that multiply, and in endless brackets', async () => {
    const bomb = ['a', 'b', 'c', 'd', 'e', 'f'].map(
      (n, i, all) => `${n}: &${n} [${`*${all[i - 1] ?? ''},`.repeat(9).replaceAll('*,', 'x,')}]`,
    )
    expect(await first(`${bomb.join('\n')}\n`)).toMatchObject({ says: expect.stringContaining('aliases') as string })
    await expect(load('['.repeat(100_000))).rejects.toMatchObject({ code: 'config_invalid' })
  })
})

describe('placeholders', () => {
  it('make a secret of every string that they stand in, also in the middle of it', async () => {
    const config = await load(
      and(
        '      password: "pg://u:${env:PW}@db/${file:name}"',
        'probes: {p: {kind: http, url: "https://x/?k=${cmd:echo k}"}}',
      ),
    )
    const password = (config.components['app']?.settings as { password: Secret } | undefined)?.password
    expect(password).toBeInstanceOf(Secret)
    expect(password?.source).toBe('pg://u:${env:PW}@db/${file:name}')
    expect(config.secrets.map(s => s.secret.source)).toEqual([password?.source, 'https://x/?k=${cmd:echo k}'])
    expect(config.secrets.map(s => s.place)).toEqual([
      'backout.yaml:7:17 components.app.settings.password',
      'backout.yaml:8:31 probes.p.url',
    ])
    for (const { secret } of config.secrets) secret.resolve('hunter2hunter2')
    for (const shown of [JSON.stringify(config), inspect(config, { depth: 20, showHidden: true })]) {
      expect(shown).toContain(HIDDEN)
      expect(shown).not.toContain('hunter2')
    }
  })

  it.each(['${HOME}', '$env:PW', '{env:PW}', '${VAR:-x}', '${at:0:3}'])('are not %s: that is a text', async literal => {
    const config = await load(and(`      password: "${literal}"`))
    expect(config.components['app']?.settings).toMatchObject({ password: literal })
    expect(config.secrets).toEqual([])
  })
})
