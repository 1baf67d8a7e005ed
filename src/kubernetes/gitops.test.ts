import { describe, expect, it } from 'vitest'
import { type GitOwner, lifting, suspendedBy } from './gitops.ts'

const marked = (mark: string): GitOwner => ({
  title: "Flux's Kustomization shop/shop",
  tool: 'flux',
  path: '/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/shop/kustomizations/shop',
  object: { metadata: { name: 'shop', annotations: { 'backout.dev/suspended': mark } }, spec: { suspend: true } },
  why: null,
})

describe('C5: a suspension whose mark somebody changed', () => {
  it('names the step while the mark is as it was left', () => {
    expect(suspendedBy(marked('{"by":"r1.shop.suspend"}'))).toBe('r1.shop.suspend')
  })

  it.each(['', 'by hand', 'null', '{}'])('is told of, and can be lifted, where the mark is "%s"', mark => {
    expect(suspendedBy(marked(mark))).toBe('a step of Backout that the mark does not name')
    expect(lifting(marked(mark))).toContain('"spec":{"suspend":false}')
  })
})
