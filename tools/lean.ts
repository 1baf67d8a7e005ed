import { join } from 'node:path'
import type { Plugin } from 'rolldown'

/** Stands for a class of a package that is loaded when the first one is made. */
const later = (name: string, from: string) =>
  `exports.${name} = function (...given) { return new (require('${from}').${name})(...given) }`

/** Stands for objects of a package that are loaded when anything of them is asked for. */
const onceUsed = (from: string, ...names: readonly string[]) =>
  names.map(name => `exports.${name} = new Proxy({}, { get: (_, key) => require('${from}').${name}[key] })`).join('\n')

/**
 * Packages of which every start with a cluster would load much and use little, and what stands for them in the bundle. Of
 * undici: no fetch, WebSocket, caches and mocks, which take half of its time to load. Of SOCKS: nothing before there is
 * such a proxy. Of age's curves: X25519 alone, before there is a key of another kind.
 */
const LEAN: Readonly<Record<string, string>> = {
  undici: `
    const { getGlobalDispatcher } = require('undici/lib/global')
    Object.assign(require('undici/lib/dispatcher/dispatcher').prototype, require('undici/lib/api'))
    exports.Agent = require('undici/lib/dispatcher/agent')
    ${later('ProxyAgent', 'undici/lib/proxy')}
    exports.request = (at, { dispatcher = getGlobalDispatcher(), ...options } = {}) => {
      const { origin, pathname, search } = new URL(at)
      return dispatcher.request({ ...options, origin, path: pathname + search, method: options.method ?? 'GET' })
    }`,
  'undici/lib/proxy': `exports.ProxyAgent = require('undici/lib/dispatcher/proxy-agent')`,
  socks: `
    exports.SocksClient = {
      createConnection: (...given) => require('socks/whole').SocksClient.createConnection(...given),
    }`,
  '@noble/curves/nist.js': onceUsed('@noble/curves/nist.js/whole', 'p256', 'p384'),
  '@noble/post-quantum/hybrid.js': onceUsed('@noble/post-quantum/hybrid.js/whole', 'MLKEM768P256', 'MLKEM768X25519'),
  'socks-proxy-agent': later('SocksProxyAgent', 'socks-proxy-agent/whole'),
}

const MARK = '\0lean:'
const ROOT = join(import.meta.dirname, '..', 'package.json')

export const lean: Plugin = {
  name: 'lean',
  resolveId(source, importer) {
    if (LEAN[source] !== undefined) return MARK + source
    if (importer?.startsWith(MARK) !== true) return null
    return this.resolve(source.replace(/\/whole$/, ''), ROOT, { skipSelf: true })
  },
  load(id) {
    return id.startsWith(MARK) ? (LEAN[id.slice(MARK.length)] ?? null) : null
  },
}
