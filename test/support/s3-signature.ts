import { createHash, createHmac } from 'node:crypto'
import type { IncomingMessage } from 'node:http'

/** Whether a request is signed by this secret as AWS Signature Version 4 asks for; the server of the tests does not look. */
export function isSigned({ method = '', url = '', headers }: IncomingMessage, secret: string): boolean {
  const told = String(headers.authorization)
  const [, day = '', region = '', service = ''] =
    /Credential=[^/]+\/([^/]+)\/([^/]+)\/([^/]+)\/aws4_request/.exec(told) ?? []
  const names = (/SignedHeaders=([^,\s]+)/.exec(told)?.[1] ?? '').split(';')
  const [path = '', query = ''] = url.split('?')
  const canonical = [
    method,
    encoded(decodeURIComponent(path)).replaceAll('%2F', '/'),
    sorted(query),
    ...names.map(name => `${name}:${String(headers[name]).trim()}`),
    '',
    names.join(';'),
    String(headers['x-amz-content-sha256']),
  ].join('\n')
  const scope = `${day}/${region}/${service}/aws4_request`
  const hash = createHash('sha256').update(canonical).digest('hex')
  const text = ['AWS4-HMAC-SHA256', String(headers['x-amz-date']), scope, hash].join('\n')
  const key = [day, region, service, 'aws4_request'].reduce<Buffer>(
    (k, part) => createHmac('sha256', k).update(part).digest(),
    Buffer.from(`AWS4${secret}`),
  )
  return told.endsWith(`Signature=${createHmac('sha256', key).update(text).digest('hex')}`)
}

function sorted(query: string): string {
  const pairs = query === '' ? [] : query.split('&').map(pair => pair.split('='))
  const all = pairs.map(([name = '', value = '']) => `${again(name)}=${again(value)}`)
  return all.sort().join('&')
}

function again(text: string): string {
  return encoded(decodeURIComponent(text))
}

function encoded(text: string): string {
  return encodeURIComponent(text).replaceAll(/[!'()*]/g, c => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
}
