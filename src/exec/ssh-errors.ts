import { BackoutError } from '../core/errors.ts'
import { redact } from '../core/secret.ts'

/** What ssh's own failure means, from what it printed. Nothing of the command had begun. */
export function sshFailure(host: string, printed: string): BackoutError {
  const cause = lastLines(printed)
  if (/REMOTE HOST IDENTIFICATION HAS CHANGED/.test(printed)) {
    return new BackoutError({
      code: 'host_key_changed',
      what: `${host} showed another host key than the one that is known: it may be another machine`,
      cause: redact(/^(SHA256:\S+)$/m.exec(printed)?.[1] ?? '') || cause,
      next: `find out why its key changed; only then take the old one out with \`${forgetting(host, printed)}\` and connect once by hand`,
      exit: 'failed',
    })
  }
  if (/Host key verification failed|No .* host key is known/.test(printed)) {
    return new BackoutError({
      code: 'host_key_unknown',
      what: `The host key of ${host} is not in known_hosts`,
      cause,
      next: `connect once by hand (\`ssh ${host}\`) and compare the key, or add it to known_hosts`,
      exit: 'failed',
    })
  }
  if (/Permission denied|Too many authentication failures/.test(printed)) {
    return new BackoutError({
      code: 'ssh_denied',
      what: `${host} refused the login`,
      cause,
      next: `make \`ssh -o BatchMode=yes ${host} true\` work: key, agent, user name in ssh_config`,
      exit: 'failed',
    })
  }
  if (/\bssh: (not found|command not found)|ENOENT/.test(printed)) {
    return new BackoutError({
      code: 'ssh_missing',
      what: 'There is no `ssh` on this machine',
      cause,
      next: 'install the OpenSSH client',
    })
  }
  return unreachable(host, cause === '' ? 'ssh ended without a word' : cause)
}

/** The command that ssh itself names knows the file, and the name under which the key stands there. */
function forgetting(host: string, printed: string): string {
  return /^\s*(ssh-keygen (?:-f \S+ )?-R .+?)\s*$/m.exec(printed)?.[1] ?? `ssh-keygen -R ${host.replace(/^.*@/, '')}`
}

export function unreachable(host: string, cause: string): BackoutError {
  return new BackoutError({
    code: 'host_unreachable',
    what: `${host} cannot be reached`,
    cause,
    next: `make \`ssh -o BatchMode=yes ${host} true\` work, or keep the host away from users`,
    exit: 'failed',
  })
}

/** The connection ended while a command ran: what became of it is not known. */
export function lost(host: string, printed: string): BackoutError {
  return new BackoutError({
    code: 'host_unreachable',
    what: `The connection to ${host} was lost while a command ran there: what became of it is not known`,
    cause: lastLines(printed) || undefined,
    next: 'ask again once the host answers; the command is ended by the host when it notices the loss',
    exit: 'failed',
  })
}

export function noShell(host: string, printed: string): BackoutError {
  return new BackoutError({
    code: 'ssh_no_shell',
    what: `${host} took the login but runs no commands`,
    cause: lastLines(printed) || undefined,
    next: 'give the user a POSIX shell there, without a forced command',
    exit: 'failed',
  })
}

/** The login works, and the host does not let this user reach a socket through it. */
export function noForward(host: string, socket: string, printed: string): BackoutError {
  return new BackoutError({
    code: 'ssh_no_forward',
    what: `${host} does not let ${socket} be reached over SSH`,
    cause: lastLines(printed) || undefined,
    next: 'allow it in its sshd_config (AllowStreamLocalForwarding yes), or log in as a user who may',
    exit: 'failed',
  })
}

function lastLines(printed: string): string {
  const lines = printed.split(/\r?\n/).filter(line => line.trim() !== '' && !/^@+$/.test(line))
  return redact(lines.slice(-4).join('\n'))
}
