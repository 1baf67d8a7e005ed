import type { Json } from '../../core/json.ts'
import { isEarlier, sameLevel } from './levels.ts'
import { type Level, levelShape } from './settings.ts'

/** Two pins, to be compared part by part: where one is of an earlier version, a level that says the same counts as the same. */
export function besideEachOther(a: Json, b: Json): readonly [Json, Json] {
  const [one, other] = [levelIn(a), levelIn(b)]
  if (one === null || other === null || isEarlier(one) === isEarlier(other) || !sameLevel(one, other)) return [a, b]
  return [a, { ...(b as object), level: (a as { level: Json }).level }]
}

function levelIn(pin: Json): Level | null {
  const level = (pin as { level?: unknown } | null)?.level
  return levelShape.safeParse(level).data ?? null
}
