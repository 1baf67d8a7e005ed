import type { Mistake } from './mistakes.ts'
import { nearestOf } from './nearest.ts'

/** Where secrets are read from: `${env:NAME}`, `${file:PATH}`, `${cmd:COMMAND}`. */
export const KINDS = ['env', 'file', 'cmd'] as const

const PLACEHOLDER = new RegExp(`\\$\\{(${KINDS.join('|')}):([^}]+)\\}`, 'g')

export function hasPlaceholder(text: string): boolean {
  return text.match(PLACEHOLDER) !== null
}

/** The placeholders of a text, in their order. */
export function placeholdersIn(text: string): { whole: string; kind: string; name: string; at: number }[] {
  return [...text.matchAll(PLACEHOLDER)].map(({ 0: whole, 1: kind = '', 2: name = '', index }) => {
    return { whole, kind, name: name.trim(), at: index }
  })
}

/**
 * What was meant as a placeholder and is none: a password must not be the text "${evn:PASSWORD}". A shell's own
 * `${name:-default}` and the like are left alone.
 */
export function placeholderMistakes(text: string, path: readonly PropertyKey[]): Mistake[] {
  const remedy = 'write ${env:NAME}, ${file:PATH} or ${cmd:COMMAND}'
  return [...text.matchAll(/\$\{(\w+):([^}]*)(\}?)/g)].flatMap(([whole, kind = '', name = '', end]): Mistake[] => {
    const known = KINDS.some(k => k === kind)
    if (known && end === '') return [{ path, what: `"${whole}" is not closed by a "}"`, remedy }]
    if (known) return name.trim() === '' ? [{ path, what: `"${whole}" names nothing`, remedy }] : []
    const meant = nearestOf({ wrong: kind, among: KINDS })
    if (meant === null || !/^[\w~./]/.test(name)) return []
    return [{ path, what: `"${kind}" is no source of a secret`, remedy, nearest: { wrong: kind, among: KINDS } }]
  })
}
