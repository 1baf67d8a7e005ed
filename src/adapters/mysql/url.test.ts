import { describe, expect, it } from 'vitest'
import { reveal, Secret } from '../../core/secret.ts'
import { mysql } from './index.ts'
import { complete } from './url.ts'

const given = (more: object) => complete(mysql.config.parse(more))

describe('the settings of a MySQL database', () => {
  it('come from a URL, whose password is a secret', () => {
    const url = new Secret(
      '${env:DATABASE_URL}',
      'mysql://app:p%40ss%2Fword@[::1]:3307/shop%20db?ssl-mode=VERIFY_IDENTITY',
    )
    const settings = given({ url })
    expect(settings).toMatchObject({ host: '::1', port: 3307, user: 'app', database: 'shop db', ssl: { verify: true } })
    expect(settings.password).toBeInstanceOf(Secret)
    expect(reveal(settings.password ?? '')).toBe('p@ss/word')
    expect(JSON.stringify(settings)).not.toContain('p@ss')
  })

  it('win over the URL, but for the place of the server', () => {
    const url = 'mysql://app:a@db1/shop?socket=/run/s'
    expect(given({ url, user: 'backout', password: 'b', database: 'copy', host: 'other' })).toMatchObject({
      host: 'db1',
      port: 3306,
      socket: '/run/s',
      user: 'backout',
      password: 'b',
      database: 'copy',
    })
  })

  it.each([
    ['mysql://db1/shop', 'user'],
    ['mysql://app@db1', 'database'],
    ['postgres://app@db1/shop', 'no URL of a MySQL'],
    ['not a url', 'no URL of a MySQL'],
    ['mysql://app@db1/shop?ssl-mode=SOMETHING', 'TLS'],
  ])('%s is not enough: %s', (url, what) => {
    expect(() => given({ url })).toThrow(
      expect.objectContaining({ code: 'settings_incomplete', message: expect.stringContaining(what) }),
    )
  })

  it.each([
    ['ssl={"rejectUnauthorized":true}', { verify: true }],
    ['sslaccept=strict', { verify: true }],
    ['sslmode=require', { verify: false }],
    ['ssl-mode=DISABLED', undefined],
    ['connection_limit=5', undefined],
  ])('%s', (query, ssl) => {
    expect(given({ url: `mysql://a@b/c?${query}` }).ssl).toEqual(ssl)
  })
})
