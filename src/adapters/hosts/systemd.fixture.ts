import type { SystemdHosts } from '../../../test/support/systemd-hosts.ts'

/** A service that says on stdout of `version` what runs, and that dies after two seconds where there is a file `ill`. */
const UNIT = `[Unit]
Description=Shop
[Service]
User=deploy
RuntimeDirectory=shop
ExecStart=/bin/sh /srv/shop/current/run
`
const USER_UNIT = `[Unit]
Description=Shop of the user
[Service]
Environment=SHOP_RUN=%t
ExecStart=/bin/sh /srv/shop/current/run
`

/** Files of every host: two units, and a .bashrc as people have them. */
export const FILES = {
  '/etc/systemd/system/shop.service': UNIT,
  '/etc/systemd/user/own.service': USER_UNIT,
  '/etc/sudoers.d/deploy': 'deploy ALL=(root) NOPASSWD: /usr/bin/systemctl * shop.service\n',
  '/home/deploy/.bashrc': 'umask 077\nunset XDG_RUNTIME_DIR\necho "Welcome to this host"\necho "mind the gap" >&2\n',
}

export const SERVICE = { systemd: 'shop.service', sudo: true }
export const VERSION = ['cat', '/run/shop/version']

/** Release folders as a deployment leaves them, with a manifest, and the first of them started. */
export async function deploy(fleet: SystemdHosts, name: string, ...versions: readonly string[]): Promise<void> {
  const unpack = versions.map(
    version => `mkdir -p /srv/shop/releases/${version}
cd /srv/shop/releases/${version}
cat >run <<'END'
echo ${version} >"\${SHOP_RUN:-/run/shop}/version"
[ ! -e /srv/shop/ill ] || { sleep 2; exit 1; }
exec sleep infinity
END
sha256sum run >MANIFEST.sha256`,
  )
  await fleet.root(name, `${unpack.join('\n')}\nchown -R deploy: /srv/shop`)
  await upgrade(fleet, name, versions[0] ?? '')
}

/** As a deployment does, not through Backout. */
export async function upgrade(fleet: SystemdHosts, name: string, version: string): Promise<void> {
  await fleet.root(
    name,
    `ln -sfn releases/${version} /srv/shop/current\nsystemctl reset-failed shop.service 2>/dev/null || :\nsystemctl restart shop.service`,
  )
}

/** What systemd says of the unit, and what the service says of itself. */
export async function runs(fleet: SystemdHosts, name: string): Promise<string> {
  return fleet.root(name, `echo $(systemctl is-active shop.service || :) $(cat /run/shop/version 2>/dev/null || :)`)
}
