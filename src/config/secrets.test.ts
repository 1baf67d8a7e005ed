import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { HIDDEN, redact, Secret } from '../core/secret.ts'
import { hasPlaceholder } from './placeholders.ts'
import { type RunCommand, resolveSecrets } from './secrets.ts'

const dir = mkdtempSync(join(tmpdir(), 'backout-secrets-'))
afterAll(() => rm(dir, { recursive: true, force: true }))
mkdirSync(join(dir, 'keys'))
writeFileSync(join(dir, 'keys', 'db'), 'from-a-file\n')
writeFileSync(join(dir, 'windows'), 'of-windows\r\n')
writeFileSync(join(dir, 'lines'), 'line-one\nline-two\n\n')
writeFileSync(join(dir, 'empty'), '\n')
process.env['BACKOUT_TEST_TOKEN'] = 'from-the-environment'
process.env['BACKOUT_TEST_EMPTY'] = ''

const ran: string[] = []
const run: RunCommand = async line => {
  ran.push(line)
  if (line === 'fail') return { code: 3, stdout: 'ignored', stderr: 'no such item\nlocked\n' }
  if (line === 'nothing') return { code: 0, stdout: '\n', stderr: '' }
  return { code: 0, stdout: `out of ${line}\n`, stderr: 'noise' }
}

async function read(...sources: string[]): Promise<string[]> {
  const secrets = sources.map(source => new Secret(source))
  const placed = secrets.map((secret, i) => ({ secret, place: `backout.yaml:${i + 1}:9 url` }))
  await resolveSecrets(placed, dir, run)
  return secrets.map(secret => secret.reveal())
}

const wrong = (...sources: string[]) => read(...sources).catch((error: unknown) => error as Record<string, string>)

describe('secrets', () => {
  it('come from the environment, from files and from commands, also in the middle of a text', async () => {
    expect(await read('${env:BACKOUT_TEST_TOKEN}', '${file:keys/db}', '${cmd:pass show db}')).toEqual([
      'from-the-environment',
      'from-a-file',
      'out of pass show db',
    ])
    expect(await read('u:${env:BACKOUT_TEST_TOKEN}@${file: keys/db }/${env:BACKOUT_TEST_TOKEN}?')).toEqual([
      'u:from-the-environment@from-a-file/from-the-environment?',
    ])
    expect(await read(`\${file:${join(dir, 'keys', 'db')}}`)).toEqual(['from-a-file'])
  })

  it('lose the end of their last line and nothing else', async () => {
    expect(await read('${file:windows}', '${file:lines}')).toEqual(['of-windows', 'line-one\nline-two\n'])
  })

  it('are asked for once, however often they are used', async () => {
    ran.length = 0
    await read('${cmd:op read a}', 'x ${cmd:op read a} ${cmd:op read a}', '${cmd:op read b}')
    expect(ran).toEqual(['op read a', 'op read b'])
  })

  it('that are missing or empty are all said at once, with their names and nothing of their content', async () => {
    const error = await wrong(
      '${env:BACKOUT_TEST_NONE}',
      '${env:BACKOUT_TEST_EMPTY}',
      '${file:gone}',
      '${file:empty}',
      '${cmd:fail}',
      '${cmd:nothing}',
      'again ${env:BACKOUT_TEST_NONE}',
      '${env:BACKOUT_TEST_TOKEN}',
    )
    expect(error).toMatchObject({ code: 'secret_missing', exit: 'usage' })
    const causes = String((error as Record<string, string>)['why']).split('\n')
    expect(causes).toHaveLength(6)
    for (const name of [
      'BACKOUT_TEST_NONE is not set',
      'BACKOUT_TEST_EMPTY is not set',
      'backout.yaml:1:9 url: the environment variable',
      `${dir}/gone is not there`,
      `${dir}/empty is empty`,
    ]) {
      expect(causes.some(cause => cause.includes(name))).toBe(true)
    }
    expect(causes).toContain('backout.yaml:5:9 url: the command "fail" ended with 3: locked')
    expect(causes).toContain('backout.yaml:6:9 url: the output of "nothing" is empty')
    expect(JSON.stringify(error)).not.toContain('from-the-environment')
  })

  it('are hidden from then on: whole, and each part alone', async () => {
    await read('pg://u:${env:BACKOUT_TEST_TOKEN}@db', '${file:lines}')
    expect(redact('cannot open pg://u:from-the-environment@db')).toBe(`cannot open ${HIDDEN}`)
    expect(redact('password "from-the-environment" refused')).toBe(`password "${HIDDEN}" refused`)
    expect(redact('line-two')).toBe(HIDDEN)
  })

  it('of the home folder are found there', async () => {
    const error = await wrong('${file:~/no-such-file-of-backout}')
    expect((error as Record<string, string>)['why']).toContain(join(homedir(), 'no-such-file-of-backout'))
  })

  it('are only what has a kind and a name', () => {
    for (const text of ['${env:A}', 'a${file:b}c', '${cmd:a b}']) expect(hasPlaceholder(text)).toBe(true)
    for (const text of ['', '${}', '${env}', '${env:}', '$env:A', '${ENV:A}', '${HOME}'])
      expect(hasPlaceholder(text)).toBe(false)
  })
})
