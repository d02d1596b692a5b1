import * as z from 'zod'
import { workspacePathFault } from '../contract/workspace-path.ts'
import type { Tool } from './tool.ts'

/** `{command, working_dir?, timeout?}` → `{stdout, stderr, exit_code, execution_time_ms}`; timeout in seconds. */
export const shellTool: Tool = {
  kind: 'job',
  name: 'shell',
  toolType: 'shell',
  purpose: 'runs one shell command line in the workspace',
  description:
    'Runs one command line with bash and returns its stdout, stderr and exit code. Same workspace and same limits as code.',
  input: z.object({
    command: z.string().min(1).max(100_000),
    working_dir: z
      .string()
      .max(512)
      .refine(
        (path) => path === '.' || workspacePathFault(path) === undefined,
        'must be a relative path inside the workspace',
      )
      .optional()
      .describe('Folder of the workspace to start in.'),
    timeout: z.number().positive().max(3600).optional().describe('Seconds after which it is ended.'),
  }),
}
