import { type MemorySystem, memoryAdapter, memoryTarget } from './memory.ts'
import { conformance } from './suite.ts'

conformance('memory', {
  adapter: memoryAdapter({ name: 'one', version: 'A', applied: {} }),
  rungs: ['set', 'rebuild'],
  make: async () => {
    const system: MemorySystem = { name: 'one', version: 'A', applied: {} }
    return {
      open: async () => memoryTarget(system, 'thing'),
      openOther: async () => memoryTarget({ ...system, name: 'two' }, 'thing'),
      upgrade: async () => void (system.version = 'B'),
      serves: async () => system.version as 'A' | 'B',
      dispose: async () => {},
    }
  },
})
