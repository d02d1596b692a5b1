import { storeSuite } from '../../ports/store.suite.ts'
import { createMemoryStore } from './store.ts'

storeSuite('memory', async () => {
  let ahead_ms = 0
  const store = createMemoryStore({ now: () => Date.now() + ahead_ms })
  return {
    front: store.front,
    step: store.step,
    async advance(seconds) {
      ahead_ms += seconds * 1000
    },
    violations: async () => store.violations(),
    sweep: async () => store.sweep(),
    async switchOff(what) {
      store.tables.switches.add(what)
      return async () => void store.tables.switches.delete(what)
    },
    async close() {},
  }
})
