import { BackoutError, messageOf } from '../core/errors.ts'
import { StorageGone } from './remote-files.ts'
import type { S3Settings } from './s3.ts'

/** What a storage answered that did not do what it was asked for. Throws nothing of a key: only names of codes are shown. */
export function refused({ endpoint, bucket }: S3Settings, name: string, status: number, said: string): Error {
  const code = /<Code>([A-Za-z]+)<\/Code>/.exec(said)?.[1] ?? `HTTP ${status}`
  if (status === 404 && code !== 'NoSuchBucket' && name !== '') return new StorageGone(`${name} is gone`)
  return new BackoutError({
    code: status === 401 || status === 403 ? 'storage_denied' : 'storage_refused',
    what: `The bucket ${bucket} at ${endpoint} refused ${name === '' ? 'to be listed' : name}`,
    cause: code,
    next: HELP[code] ?? `look at \`backups.s3\` in backout.yaml and at the rights of its key, then: backout doctor`,
    exit: 'blocked',
  })
}

const HELP: Readonly<Record<string, string>> = {
  InvalidAccessKeyId: 'the storage does not know `backups.s3.accessKey`: name one that it does',
  SignatureDoesNotMatch: '`backups.s3.secretKey` does not belong to the access key, or the region is another one',
  NoSuchBucket: 'make the bucket, or mend `backups.s3.bucket`',
  RequestTimeTooSkewed: 'set the clock of this machine',
}

export function unreachable({ endpoint, bucket }: S3Settings, error: unknown): BackoutError {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
  return new BackoutError({
    code: 'storage_unreachable',
    what: `The bucket ${bucket} at ${endpoint} does not answer`,
    cause: messageOf(cause),
    next: 'see that it can be reached from here, then do it again',
    exit: 'failed',
    from: error,
  })
}
