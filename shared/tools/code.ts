import * as z from 'zod'
import type { Tool } from './tool.ts'

export const CODE_LANGUAGES = ['javascript', 'typescript', 'python', 'bash', 'ruby', 'go'] as const

/** `{language, code, timeout?}` → `{stdout, stderr, exit_code, execution_time_ms}`; timeout in seconds. */
export const codeTool: Tool = {
  kind: 'job',
  name: 'code',
  toolType: 'code',
  purpose: 'runs a program that you write, with the workspace as its working directory',
  description:
    'Runs one program and returns its stdout, stderr and exit code. It starts in the workspace (inputs/, outputs/) in a fresh ' +
    'process without network; only files stay between calls. Files written under outputs/ are handed to the user.',
  input: z.object({
    language: z
      .enum(CODE_LANGUAGES)
      .describe('The interpreter. javascript and typescript run as ES modules on Node.js.'),
    code: z.string().min(1).max(200_000).describe('The whole program.'),
    timeout: z.number().positive().max(3600).optional().describe('Seconds after which it is ended.'),
  }),
}
