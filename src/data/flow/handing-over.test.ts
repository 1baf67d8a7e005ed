import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { handsOverBy } from './handing-over.ts'

describe('by what a command hands on what it is to do', () => {
  let dir: string
  beforeEach(async () => void (dir = await mkdtemp(join(tmpdir(), 'handing-'))))
  afterEach(() => rm(dir, { recursive: true, force: true }))
  const line = (text: string) => handsOverBy(['sh', '-c', text], dir)

  it.each([
    ['docker exec app rails db:migrate:down', 'docker exec'],
    ['cd app && docker --context prod exec -i app ./manage.py migrate shop "$BACKOUT_LEVEL"', 'docker exec'],
    ['docker compose -f a.yaml run --rm app npx knex migrate:down', 'docker run'],
    ['docker-compose exec -T app down', 'docker-compose exec'],
    ['/usr/bin/podman exec app down', 'podman exec'],
    ['kubectl -n shop exec deploy/app -- down', 'kubectl exec'],
    ['ssh app@host down', 'ssh'],
    ['env A=b /usr/bin/ssh -p 22 host down', 'ssh'],
  ])('%s', async (text, client) => expect(await line(text)).toBe(client))

  it.each([
    'npx knex migrate:down "$BACKOUT_MIGRATION"',
    'rails db:migrate:down VERSION="$BACKOUT_MIGRATION"',
    'npm run migrate:down',
    'docker ps; npm run down',
    './ssh-less.sh down',
  ])('nothing: %s', async text => expect(await line(text)).toBeNull())

  it('is found in a list of words, and in a script that they name, not in its comments', async () => {
    expect(await handsOverBy(['ssh', 'host', 'down'], dir)).toBe('ssh')
    await writeFile(join(dir, 'down.sh'), '#!/bin/sh\nset -e\nexec docker exec app down "$BACKOUT_MIGRATION"\n')
    expect(await handsOverBy(['./down.sh'], dir)).toBe('docker exec')
    expect(await line('bash "./down.sh" && echo well')).toBe('docker exec')
    await writeFile(join(dir, 'down.sh'), '#!/bin/sh\n# not by ssh any more\nknex migrate:down\n')
    expect(await handsOverBy(['./down.sh'], dir)).toBeNull()
  })
})
