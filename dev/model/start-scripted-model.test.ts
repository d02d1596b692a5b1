import { readFile } from 'node:fs/promises'
import { afterEach, expect, test } from 'vitest'
import { createModel } from '../../shared/adapters/anthropic/model.ts'
import { plannerPrompt, SUBMIT_PLAN, submitPlanTool } from '../../shared/engine/prompts/planner.ts'
import { userRequest } from '../../shared/engine/prompts/user-request.ts'
import type { ScriptRequest } from './script.ts'
import { type ScriptedModel, startScriptedModel } from './start-scripted-model.ts'
import { runLoop, type Turn } from './tool-loop.ts'

const open: { close(): Promise<void> }[] = []
afterEach(async () => {
  for (const one of open.splice(0)) await one.close()
})

async function start(tokensPerSecond = Number.POSITIVE_INFINITY) {
  const scripted: ScriptedModel = await startScriptedModel({ tokensPerSecond })
  open.push(scripted)
  const model = createModel({ apiKey: 'any', baseUrl: scripted.url, model: 'scripted' })
  const pieces: string[] = []
  const turn = (request: ScriptRequest, signal = new AbortController().signal) =>
    model.turn(
      {
        system: 'You are an agent.',
        messages: [...request.messages],
        tools: request.tools.map(({ name }) => ({
          name,
          description: name,
          inputSchema: { type: 'object' },
        })),
        toolChoice: 'auto',
        maxTokens: 4000,
      },
      { signal, onText: (delta) => pieces.push(delta) },
    )
  return { model, turn, pieces, scripted }
}

const PROMPT = 'Analyse the attached file: what is in it, what stands out?'

test('the whole demonstration through the real SDK', { timeout: 30_000 }, async () => {
  const { turn, pieces } = await start()
  const ids = new Set<string>()
  const ask = async (request: ScriptRequest): Promise<Turn> => {
    const { blocks, usage, stopReason } = await turn(request)
    const calls = blocks.flatMap((block) =>
      block.type === 'tool_use'
        ? [{ id: block.id, name: block.name, input: block.input as Record<string, unknown> }]
        : [],
    )
    for (const { id } of calls) {
      expect(ids.has(id)).toBe(false)
      ids.add(id)
    }
    expect(stopReason).toBe(calls.length > 0 ? 'tool_use' : 'end_turn')
    expect(usage.inputTokens).toBeGreaterThan(0)
    expect(usage.outputTokens).toBeGreaterThan(0)
    return { text: blocks.map((block) => (block.type === 'text' ? block.text : '')).join(''), calls }
  }
  const text = await readFile(new URL('../../package-lock.json', import.meta.url), 'utf8')
  const loop = await runLoop({ prompt: PROMPT, files: { 'package-lock.json': text }, ask })
  await loop.remove()
  expect(loop.steps.filter(({ isError }) => isError)).toHaveLength(1)
  expect(loop.answer).toContain(`${Object.keys(JSON.parse(text).packages).length} records**`)
  expect(pieces.join('')).toContain(loop.answer)
})

test('a plan, as the planner asks for it', async () => {
  const { model } = await start()
  const { blocks } = await model.turn(
    {
      system: plannerPrompt({ today: '2026-03-01', tools: [], modelCallCredits: 5 }),
      messages: [
        {
          role: 'user',
          content: userRequest({
            prompt: PROMPT,
            files: [{ path: 'inputs/a.csv', sizeBytes: 5 }],
            memoryContext: 'inputs/old.csv (7 bytes)',
          }).map((text) => ({ type: 'text', text })),
        },
      ],
      tools: [submitPlanTool],
      toolChoice: { name: SUBMIT_PLAN },
      maxTokens: 4000,
    },
    { signal: new AbortController().signal, onText: () => {} },
  )
  const [call] = blocks
  if (call?.type !== 'tool_use') throw new Error('expected a call')
  const { goal, phases } = call.input as { goal: string; phases: unknown[] }
  expect(goal).toContain('a.csv')
  expect(phases).toHaveLength(3)
  for (const key of submitPlanTool.inputSchema.required as string[]) expect(call.input).toHaveProperty(key)
})

test('the same turn from another process, and after an abort in the middle of one', async () => {
  const first = await start(200)
  const second = await start()
  const request: ScriptRequest = {
    messages: [{ role: 'user', content: [{ type: 'text', text: 'Hello there' }] }],
    tools: [{ name: 'code' }],
  }
  const controller = new AbortController()
  setTimeout(() => controller.abort(), 150)
  await expect(first.turn(request, controller.signal)).rejects.toMatchObject({ kind: 'aborted' })
  expect((await first.turn(request)).blocks).toEqual((await second.turn(request)).blocks)
})

test('close ends at once, even with a stream going on', async () => {
  const { turn, scripted } = await start(5)
  const running = turn({
    messages: [{ role: 'user', content: [{ type: 'text', text: 'Hello' }] }],
    tools: [{ name: 'code' }],
  })
  await new Promise((resolve) => setTimeout(resolve, 200))
  open.splice(0)
  await Promise.all([scripted.close(), expect(running).rejects.toMatchObject({ kind: 'unavailable' })])
})
