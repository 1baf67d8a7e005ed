import { expect, it } from 'vitest'
import { needsOf, quantity } from './quota.ts'

it.each([
  ['500m', 0.5],
  ['2e3', 2000],
  ['1Gi', 1_073_741_824],
  ['1E', 1e18],
  ['1Ei', 2 ** 60],
])('reads %s as a number', (text, number) => {
  expect(quantity(text)).toBe(number)
})

it('counts sidecars with the containers, and what runs before them where it asks for more', () => {
  const one = (name: string, cpu: string, more: object = {}) => ({ name, resources: { requests: { cpu } }, ...more })
  const sidecar = one('proxy', '200m', { restartPolicy: 'Always' })
  const needs = (first: string) =>
    needsOf({ containers: [one('app', '500m')], initContainers: [sidecar, one('migrate', first)] })
  expect(needs('100m')).toEqual({ pods: 1, 'count/pods': 1, cpu: 0.7, 'requests.cpu': 0.7 })
  expect(needs('2')['cpu']).toBe(2.2)
})
