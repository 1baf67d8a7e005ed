import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Works in a folder of its own, which is gone afterwards. */
export async function inFolder<T>(work: (root: string) => Promise<T>): Promise<T> {
  const root = await mkdtemp(join(tmpdir(), 'shop-'))
  try {
    return await work(root)
  } finally {
    await rm(root, { recursive: true })
  }
}

export interface Said {
  readonly status: number
  readonly json: Record<string, unknown>
}

/** One request to the shop. */
export async function ask(url: string, method = 'GET', body: object | null = null, token = ''): Promise<Said> {
  const response = await fetch(url, {
    method,
    headers: { authorization: `Bearer ${token}` },
    ...(body === null ? {} : { body: JSON.stringify(body) }),
  })
  return { status: response.status, json: (await response.json()) as Said['json'] }
}
