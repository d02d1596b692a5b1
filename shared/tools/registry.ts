import * as z from 'zod'
import { toolCostUnits } from '../core/costs.ts'
import { ADVANCE_PHASE, ASK_USER } from '../core/decide.ts'
import type { ToolDefinition } from '../ports/model.ts'
import { codeTool } from './code.ts'
import { fileListTool } from './file-list.ts'
import { fileReadTool } from './file-read.ts'
import { fileWriteTool } from './file-write.ts'
import { messageTool } from './message.ts'
import { shellTool } from './shell.ts'
import type { Tool } from './tool.ts'

const ALL: readonly Tool[] = [codeTool, shellTool, fileReadTool, fileWriteTool, fileListTool, messageTool]

export const TOOLS: ReadonlyMap<string, Tool> = new Map(ALL.map((tool) => [tool.name, tool]))
export const TOOL_NAMES: ReadonlySet<string> = new Set(TOOLS.keys())
/** Tools that a step carries out itself; all others are jobs. */
export const INLINE_TOOLS: readonly string[] = ALL.flatMap(({ kind, name }) =>
  kind === 'inline' ? [name] : [],
)

/** What is wrong with a call's input, as a sentence for the model; undefined when it may be carried out. */
export function toolInputFault(name: string, input: unknown): string | undefined {
  const parsed = TOOLS.get(name)?.input.safeParse(input)
  if (parsed === undefined) return `there is no tool ${name}`
  if (parsed.success) return undefined
  return parsed.error.issues
    .slice(0, 5)
    .map((issue) => `${issue.path.join('.') || 'the input'}: ${issue.message}`)
    .join('; ')
}

const CONTROL: readonly ToolDefinition[] = [
  {
    name: ADVANCE_PHASE,
    description: 'Ends the current phase of the plan and begins the next one. Not for the last phase.',
    inputSchema: {
      type: 'object',
      properties: {
        phase_number: { type: 'integer', description: 'The phase that is done.' },
        summary: { type: 'string', description: 'What came out of it.' },
      },
      required: ['phase_number', 'summary'],
    },
  },
  {
    name: ASK_USER,
    description: 'Stops the work until the user has answered. Only for what the work cannot go on without.',
    inputSchema: { type: 'object', properties: { question: { type: 'string' } }, required: ['question'] },
  },
]

// made once: their schemas cost more than the rest of a step's own work
const DEFINITIONS: readonly ToolDefinition[] = [
  ...ALL.map((tool) => ({
    name: tool.name,
    description: tool.description,
    inputSchema: z.toJSONSchema(tool.input, { io: 'input', unrepresentable: 'any' }) as Record<
      string,
      unknown
    >,
  })),
  ...CONTROL,
]

/** Definitions for the model: always in this order, so that its prompt cache holds. */
export function toolDefinitions(): ToolDefinition[] {
  return [...DEFINITIONS]
}

/** For the plan: name, what it is good for, price of a use in credits. */
export function toolPrices(): { name: string; purpose: string; credits: number }[] {
  return ALL.map(({ name, purpose }) => ({ name, purpose, credits: toolCostUnits(name) / 10_000 }))
}
