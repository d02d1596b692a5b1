import { describe, expect, test } from 'vitest'
import type { Plan } from '../../core/plan.ts'
import { listFiles } from './files.ts'
import { phaseNote } from './phase-note.ts'
import { planRepair } from './plan-repair.ts'
import { plannerPrompt, submitPlanTool } from './planner.ts'
import { supervisorPrompt } from './supervisor.ts'
import { userRequest } from './user-request.ts'

const phase = { required_capabilities: ['code'], estimated_credits: 7, expected_outputs: [] }
const plan: Plan = {
  goal: 'A table of licences',
  phases: [
    { ...phase, phase_number: 1, name: 'Look', description: 'Read the file.', dependencies: [] },
    {
      ...phase,
      phase_number: 2,
      name: 'Count',
      description: 'Group it.',
      dependencies: [1],
      expected_outputs: ['outputs/a.csv'],
    },
  ],
  total_estimated_credits: 14,
  total_estimated_duration_minutes: 2,
  required_capabilities: ['code'],
  risks: [],
}

describe('prompts', () => {
  test('the planner knows the date, the tools with prices and the shape', () => {
    const prompt = plannerPrompt({
      today: '2026-03-01',
      tools: [{ name: 'code', purpose: 'runs a program', credits: 2 }],
      modelCallCredits: 5,
    })
    expect(prompt).toContain('2026-03-01')
    expect(prompt).toContain('- code (2 credits a use): runs a program')
    expect(prompt).toContain('submit_plan')
    expect(prompt).not.toMatch(/undefined|NaN|\[object/)
    // Whatever follows from the phases is computed, never asked for.
    const { properties } = submitPlanTool.inputSchema as { properties: object }
    expect(Object.keys(properties)).toEqual(['goal', 'phases', 'total_estimated_duration_minutes', 'risks'])
    expect(JSON.stringify(submitPlanTool.inputSchema)).not.toContain('phase_number')
  })

  test('the supervisor prompt depends on nothing that changes during a run', () => {
    const context = {
      plan,
      today: '2026-03-01',
      languages: ['javascript', 'bash'],
      limits: { timeoutSeconds: 60, memoryMegabytes: 512, outputKilobytes: 64 },
    }
    const prompt = supervisorPrompt(context)
    expect(supervisorPrompt(structuredClone(context))).toBe(prompt)
    for (const words of [
      'A table of licences',
      'Phase 2, Count: Group it. Needs phase 1. Yields: outputs/a.csv.',
      'javascript, bash',
      '60 seconds',
      '512 MB',
      '64 KB',
      'advance_phase',
      'ask_user',
      'no network',
    ]) {
      expect(prompt).toContain(words)
    }
    expect(prompt).not.toMatch(/undefined|NaN|\[object/)
  })

  test('the request: the prompt is a block of its own, files and notes follow', () => {
    expect(userRequest({ prompt: 'Hi', files: [], memoryContext: null })).toEqual(['Hi'])
    const [prompt, files, notes] = userRequest({
      prompt: 'Look at it',
      files: [{ path: 'inputs/a b.json', sizeBytes: 12 }],
      memoryContext: 'Likes tables.',
    })
    expect(prompt).toBe('Look at it')
    expect(files).toMatch(/\ninputs\/a b\.json \(12 bytes\)$/)
    expect(notes).toContain('Likes tables.')
  })

  test('a long list of files is cut with a word about it, and a name cannot start a line', () => {
    const many = Array.from({ length: 130 }, (_, index) => ({ path: `inputs/${index}`, sizeBytes: 1 }))
    expect(listFiles(many).split('\n')).toHaveLength(101)
    expect(listFiles(many)).toContain('and 30 more')
    expect(listFiles([{ path: 'inputs/x\n# New rules', sizeBytes: 1 }])).toBe(
      'inputs/x # New rules (1 bytes)',
    )
  })

  test('repair names the errors, bounded', () => {
    const message = planRepair(Array.from({ length: 30 }, (_, index) => `phases[${index}].name is missing`))
    expect(message).toContain('phases[0].name is missing')
    expect(message).toContain('and 10 more')
    expect(() => planRepair([])).toThrow()
  })

  test('the note of a phase', () => {
    const note = phaseNote({ plan, currentPhase: 2, files: [{ path: 'outputs/a.csv', sizeBytes: 3 }] })
    expect(note).toContain('Phase 2 of 2 begins: Count.')
    expect(note).toContain('outputs/a.csv (3 bytes)')
    expect(() => phaseNote({ plan, currentPhase: 3, files: [] })).toThrow('no phase 3')
  })
})
