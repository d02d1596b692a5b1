import { modelSuite } from '../../ports/model.suite.ts'
import { createMemoryModel } from './model.ts'

modelSuite('memory', {
  open: async (replies) => ({
    model: createMemoryModel((_request, call) => replies[call] ?? 'silence'),
    close: async () => {},
  }),
})
