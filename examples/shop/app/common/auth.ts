import { createHmac, randomBytes, scrypt, timingSafeEqual } from 'node:crypto'

// Cheap on purpose: the users of this shop are made up by the hundred.
const COST = { N: 1024, r: 8, p: 1 }
const TOKEN_MS = 24 * 3_600_000

export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(16)
  return `${salt.toString('base64url')}.${(await derive(password, salt)).toString('base64url')}`
}

export async function checkPassword(password: string, stored: string): Promise<boolean> {
  const [salt, hash] = stored.split('.').map(part => Buffer.from(part, 'base64url'))
  if (salt === undefined || hash === undefined) return false
  const given = await derive(password, salt)
  return given.length === hash.length && timingSafeEqual(given, hash)
}

function derive(password: string, salt: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    scrypt(password, salt, 32, COST, (error, key) => (error === null ? resolve(key) : reject(error)))
  })
}

/** A token that any instance can check without asking another. */
export function signToken(userId: number, secret: string): string {
  const claim = `${userId}.${Date.now() + TOKEN_MS}`
  return `${claim}.${mac(claim, secret)}`
}

/** The user of a token; null where it was not signed with this secret or has run out. */
export function userOf(token: string, secret: string): number | null {
  const [user = '', until = '', signature = ''] = token.split('.')
  const expected = Buffer.from(mac(`${user}.${until}`, secret))
  const given = Buffer.from(signature)
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) return null
  return Number(until) > Date.now() ? Number(user) : null
}

function mac(claim: string, secret: string): string {
  return createHmac('sha256', secret).update(claim).digest('base64url')
}
