import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { phaseNote } from '../../shared/engine/prompts/phase-note.ts'
import { userRequest } from '../../shared/engine/prompts/user-request.ts'
import type { AssistantBlock, ModelMessage, ToolResultBlock } from '../../shared/ports/model.ts'
import type { ScriptRequest } from './script.ts'

const TOOLS = [
  'code',
  'shell',
  'file_read',
  'file_write',
  'file_list',
  'message',
  'advance_phase',
  'ask_user',
]

/** A loop of more turns than this has lost its way. */
const MAX_TURNS = 25

export type Turn = { text: string; calls: { id: string; name: string; input: Record<string, unknown> }[] }

export interface LoopResult {
  directory: string
  answer: string
  steps: { name: string; input: Record<string, unknown>; result: string; isError: boolean }[]
  messages: ModelMessage[]
  remove(): Promise<void>
}

/**
 * For tests: an agent loop that really runs code with node and bash in a temporary directory, without any sandbox. `disturb` may
 * put another result in place of a call's own, as a lost or killed tool would.
 */
export async function runLoop(options: {
  prompt: string
  files?: Record<string, string | Uint8Array>
  ask: (request: ScriptRequest) => Promise<Turn> | Turn
  extension?: 'mjs' | 'cjs'
  disturb?: (name: string, count: number) => string | undefined
}): Promise<LoopResult> {
  const { prompt, files = {}, ask, extension = 'mjs', disturb } = options
  const directory = await mkdtemp(join(tmpdir(), 'script-loop-'))
  await mkdir(join(directory, 'inputs'))
  for (const [name, bytes] of Object.entries(files)) await writeFile(join(directory, 'inputs', name), bytes)
  const listed = Object.entries(files).map(([name, bytes]) => ({
    path: `inputs/${name}`,
    sizeBytes: Buffer.byteLength(bytes),
  }))
  const texts = userRequest({ prompt, files: listed, memoryContext: null })
  const messages: ModelMessage[] = [{ role: 'user', content: texts.map((text) => ({ type: 'text', text })) }]
  const steps: LoopResult['steps'] = []
  for (let turn = 0; turn < MAX_TURNS; turn += 1) {
    const { text, calls } = await ask({ messages, tools: TOOLS.map((name) => ({ name })) })
    if (calls.length === 0) {
      return {
        directory,
        answer: text,
        steps,
        messages,
        remove: () => rm(directory, { recursive: true, force: true }),
      }
    }
    const content: AssistantBlock[] = calls.map(({ id, name, input }) => ({
      type: 'tool_use',
      id,
      name,
      input,
    }))
    messages.push({
      role: 'assistant',
      content: text === '' ? content : [{ type: 'text', text }, ...content],
    })
    const results: ToolResultBlock[] = []
    for (const { id, name, input } of calls) {
      const earlier = steps.filter((step) => step.name === name).length
      const disturbed = disturb?.(name, earlier)
      const { result, isError } =
        disturbed === undefined
          ? await runTool(directory, name, input, extension)
          : { result: disturbed, isError: true }
      steps.push({ name, input, result, isError })
      results.push({ type: 'tool_result', tool_use_id: id, content: result, is_error: isError })
    }
    messages.push({ role: 'user', content: results })
  }
  throw new Error(`no answer after ${MAX_TURNS} turns`)
}

async function runTool(directory: string, name: string, input: Record<string, unknown>, extension: string) {
  if (name === 'message') return { result: 'The user sees the message.', isError: false }
  if (name === 'advance_phase') {
    const phase = {
      name: 'Next',
      description: '',
      required_capabilities: [],
      estimated_credits: 0,
      dependencies: [],
      expected_outputs: [],
    }
    const currentPhase = Number(input.phase_number) + 1
    const plan = {
      goal: '',
      phases: [{ ...phase, phase_number: currentPhase }],
      total_estimated_credits: 0,
      total_estimated_duration_minutes: 0,
      required_capabilities: [],
      risks: [],
    }
    return {
      result: phaseNote({ plan, currentPhase, files: [{ path: 'inputs/decoy.json', sizeBytes: 1 }] }),
      isError: false,
    }
  }
  if (name === 'shell') return await run('bash', ['-c', String(input.command)], directory)
  const program = join(directory, `.program.${extension}`)
  await writeFile(program, String(input.code))
  return await run(process.execPath, [program], directory)
}

async function run(command: string, args: string[], cwd: string) {
  const began = Date.now()
  const { code, stdout, stderr } = await new Promise<{ code: number; stdout: string; stderr: string }>(
    (resolve) => {
      execFile(command, args, { cwd, timeout: 30_000, maxBuffer: 1 << 20 }, (error, out, err) => {
        resolve({ code: error === null ? 0 : Number(error.code ?? 1), stdout: out, stderr: err })
      })
    },
  )
  const json = JSON.stringify(
    { stdout, stderr, exit_code: code, execution_time_ms: Date.now() - began },
    null,
    2,
  )
  return code === 0
    ? { result: json, isError: false }
    : { result: `Exit code ${code}\n${json}`, isError: true }
}
