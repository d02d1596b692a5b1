import type { JobOutcome } from '../contract/job.ts'
import type { Box } from './box.ts'

/** What the executor is asked to run, once. It comes from the runner, which is trusted. */
export interface ExecutionRequest {
  box: Box
  /** Path of the file that is the tool's standard input. */
  stdin?: string
  timeoutSeconds: number
  outputBytes: number
}

/**
 * How the executor says that the tool ended. It may be the tool's own word, which can take the executor over: checked field by
 * field, and nothing that only the runner may say.
 */
export function readOutcome(payload: Buffer): JobOutcome {
  const value: unknown = JSON.parse(payload.toString('utf8'))
  if (typeof value !== 'object' || value === null) throw new Error('no outcome')
  const { kind, exit_code: code, signal } = value as Record<string, unknown>
  if (kind === 'timeout' || kind === 'out_of_memory' || kind === 'output_limit') return { kind }
  if (kind === 'exited' && typeof code === 'number' && Number.isInteger(code) && code >= 0 && code <= 255)
    return { kind, exit_code: code }
  if (kind === 'killed' && typeof signal === 'string' && /^SIG[A-Z0-9]{1,12}$/.test(signal))
    return { kind, signal }
  throw new Error('an unknown outcome')
}
