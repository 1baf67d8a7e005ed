import { execFile } from 'node:child_process'
import { mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const OPENSSL = 'openssl'

export interface Certificate {
  /** A folder for this cluster's files. */
  readonly dir: string
  readonly key: string
  readonly cert: string
}

/** A certificate for loopback that is its own authority. */
export async function certificate(): Promise<Certificate> {
  const dir = await mkdtemp(join(tmpdir(), 'backout-cluster-'))
  const [key, cert] = [join(dir, 'tls.key'), join(dir, 'tls.crt')]
  const subject = ['-subj', '/CN=kubernetes', '-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:kubernetes']
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  await promisify(execFile)(OPENSSL, ['req', '-x509', ...curve, '-days', '7', ...subject, '-keyout', key, '-out', cert])
  return { dir, key: await readFile(key, 'utf8'), cert: await readFile(cert, 'utf8') }
}

export async function writeKubeconfig(o: {
  certificate: Certificate
  url: string
  context: string
  user: string
  token: string
  namespace: string
}): Promise<string> {
  const path = join(o.certificate.dir, 'kubeconfig')
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      {
        name: o.context,
        cluster: { server: o.url, 'certificate-authority-data': Buffer.from(o.certificate.cert).toString('base64') },
      },
    ],
    users: [{ name: o.user, user: { token: o.token } }],
    contexts: [{ name: o.context, context: { cluster: o.context, user: o.user, namespace: o.namespace } }],
    'current-context': o.context,
  }
  await writeFile(path, JSON.stringify(config, null, 2), { mode: 0o600 })
  return path
}
