import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Shops } from './shops.ts'

/** Arguments and environment of one `ansible-playbook` that does to all hosts what Backout does. */
export interface Playbook {
  readonly argv: readonly string[]
  readonly env: Readonly<Record<string, string>>
}

/**
 * Writes inventory, playbook and configuration. Without facts and without looking for a Python, which would only make
 * Ansible slower; its ssh, ControlMaster and ControlPersist are as it comes.
 */
export async function playbook(
  dir: string,
  shops: Shops,
  sshConfig: string,
  options: { name: string; pipelining: boolean },
): Promise<Playbook> {
  const path = (file: string) => join(dir, `${options.name}.${file}`)
  const hosts = shops.names.map(name => `${name} root=${shops.root(name)}`)
  await writeFile(
    path('ini'),
    `${hosts.join('\n')}\n[all:vars]\nansible_python_interpreter=/usr/bin/python3\nansible_ssh_common_args=-F ${sshConfig}\n`,
  )
  await writeFile(
    path('yml'),
    `- hosts: all
  gather_facts: false
  tasks:
    - file: { src: releases/v1, dest: '{{ root }}/current', state: link, force: true }
    - command: '{{ root }}/service restart'
`,
  )
  await writeFile(
    path('cfg'),
    `[defaults]
local_tmp = ${join(dir, 'at')}
remote_tmp = ${join(dir, 'ar')}
retry_files_enabled = false
[ssh_connection]
pipelining = ${options.pipelining ? 'True' : 'False'}
control_path_dir = ${join(dir, 'cp')}
`,
  )
  const argv = ['ansible-playbook', '-f', String(shops.names.length), '-i', path('ini'), path('yml')]
  return { argv, env: { ANSIBLE_CONFIG: path('cfg'), ANSIBLE_NOCOWS: '1' } }
}
