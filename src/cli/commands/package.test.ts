import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Decrypter, generateHybridIdentity, identityToRecipient } from 'age-encryption'
import { expect, it } from 'vitest'
import { makeToy } from '../../../test/support/toy.ts'

it('A3: what one home exports to another is opened by that one alone, and by nobody once it was altered', {
  timeout: 90_000,
}, async () => {
  await using there = await makeToy()
  await using here = await makeToy()
  expect(await there.backout(['capture', 'v1', '--known-good'])).toMatchObject({ code: 0 })
  const recipient = (await here.backout(['release', 'recipient'])).stdout.trim()
  expect(recipient).toMatch(/^age1[a-z0-9]{50,}$/)
  const file = join(there.folder, 'v1.backout')
  const exported = await there.json<{ sha256: string }>(['release', 'export', 'v1', file, '--recipient', recipient])
  expect(exported).toMatchObject({ release: 'v1', captures: 1, file })
  const locked = await there.backout(['release', 'import', file])
  expect(locked).toMatchObject({ code: 3, stderr: expect.stringContaining('[package_locked]') as string })
  const content = await readFile(file)
  const altered = Buffer.from(content)
  altered[altered.length - 20] = (altered.at(-20) ?? 0) ^ 1
  await writeFile(file, altered)
  const refused = await here.backout(['release', 'import', file])
  expect(refused).toMatchObject({ code: 11, stderr: expect.stringContaining('[package_altered]') as string })
  expect(await here.json(['releases'])).toEqual([])
  await writeFile(file, content)
  expect(await here.json(['release', 'import', file])).toMatchObject({
    release: 'v1',
    state: 'captured',
    was: 'known-good',
    sha256: exported.sha256,
  })
  const again = await here.backout(['release', 'import', file])
  expect(again).toMatchObject({ code: 0, stdout: expect.stringContaining('nothing was changed') as string })
  const wrong = await here.backout(['release', 'import', join(there.folder, 'backout.yaml')])
  expect(wrong).toMatchObject({ code: 2, stderr: expect.stringContaining('[not_a_package]') as string })
  const gone = await here.backout(['release', 'import', 'gone.backout'])
  expect(gone).toMatchObject({ code: 2, stderr: expect.stringContaining('[file_unreadable]: There is no') as string })
  const short = { BACKOUT_PASSPHRASE: 'short' }
  const refusedShort = await there.backout(['release', 'export', 'v1', `${file}.2`], short)
  expect(refusedShort).toMatchObject({ code: 2, stderr: expect.stringContaining('[passphrase_short]') as string })
})

it('A3: exports to a post-quantum recipient, whose curves the shipped command loads when they are asked for', {
  timeout: 90_000,
}, async () => {
  await using toy = await makeToy()
  expect(await toy.backout(['capture', 'v1'])).toMatchObject({ code: 0 })
  const identity = await generateHybridIdentity()
  const file = join(toy.folder, 'v1.backout')
  const exported = await toy.backout([
    'release',
    'export',
    'v1',
    file,
    '--recipient',
    await identityToRecipient(identity),
  ])
  expect(exported).toMatchObject({ code: 0, stderr: '' })
  const decrypter = new Decrypter()
  decrypter.addIdentity(identity)
  expect((await decrypter.decrypt(await readFile(file))).length).toBeGreaterThan(500)
})
