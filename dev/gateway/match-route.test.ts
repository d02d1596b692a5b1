import { expect, test } from 'vitest'
import { matchRoute } from './match-route.ts'

const route = matchRoute([
  { name: 'execute', routes: ['/agent/execute'] },
  { name: 'logs', routes: ['/agent/run/*/stream'] },
  { name: 'step', routes: ['/agent/step/**'] },
])

test.each([
  ['/agent/execute', 'execute'],
  ['/agent/execute/', 'execute'],
  ['/agent/run/1/stream/', 'logs'],
  ['/agent/step', 'step'],
  ['/agent/step/job/1/', 'step'],
  ['/agent/execute//', undefined],
  ['/agent/run/1/2/stream', undefined],
  ['/agent/run//stream', undefined],
  ['/', undefined],
])('%s is for %s', (path, name) => {
  expect(route(path)).toBe(name)
})
