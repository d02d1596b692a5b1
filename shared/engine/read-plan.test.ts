import { expect, it } from 'vitest'
import { readPlan } from './read-plan.ts'

const phase = {
  name: 'A',
  description: 'a',
  required_capabilities: ['code'],
  estimated_credits: 2,
  dependencies: [],
  expected_outputs: [],
}

it('numbers phases and computes totals', () => {
  const read = readPlan({
    goal: 'g',
    phases: [phase, { ...phase, dependencies: [1], phase_number: 77 }],
    risks: [],
    total_estimated_credits: 999,
  })
  expect(read).toMatchObject({
    plan: {
      total_estimated_credits: 4,
      required_capabilities: ['code'],
      phases: [{ phase_number: 1 }, { phase_number: 2 }],
    },
  })
})

it.each([
  ['nothing', undefined],
  ['a text', 'plan'],
  ['no phases', { goal: 'g', phases: [] }],
  ['a blank goal', { goal: ' ', phases: [phase] }],
  ['a dependency on itself', { goal: 'g', phases: [{ ...phase, dependencies: [1] }] }],
  ['a dependency on a later phase', { goal: 'g', phases: [{ ...phase, dependencies: [2] }, phase] }],
  ['nine phases', { goal: 'g', phases: Array.from({ length: 9 }, () => phase) }],
  ['credits below zero', { goal: 'g', phases: [{ ...phase, estimated_credits: -1 }] }],
  ['an endless name', { goal: 'g', phases: [{ ...phase, name: 'x'.repeat(10_000) }] }],
])('%s is refused with sentences', (_name, input) => {
  const read = readPlan(input)
  if (!('errors' in read)) throw new Error('accepted')
  expect(read.errors.length).toBeGreaterThan(0)
})
