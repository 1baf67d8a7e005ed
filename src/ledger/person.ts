import { userInfo } from 'node:os'

/** Who types: the name that audits show. */
export function person(): string {
  const said = process.env['BACKOUT_USER']?.replaceAll(/\p{Cc}|\p{Bidi_Control}/gu, '').trim()
  if (said !== undefined && said !== '') return said
  try {
    return userInfo().username
  } catch {
    return `uid ${process.getuid?.() ?? 'unknown'}`
  }
}
