import type * as z from 'zod'
import type { ToolType } from '../core/run.ts'
import type { Blobs } from '../ports/blobs.ts'
import type { NewMessage, WorkspaceFile } from '../ports/store.ts'

/** Files of the run's workspace, as an inline tool may use them: a manifest of hashes, no path on any host. */
export interface Workspace {
  find(path: string): Promise<WorkspaceFile | undefined>
  /** Files below a folder (`''`: all), by path, at most `limit`. */
  list(folder: string, limit: number): Promise<WorkspaceFile[]>
}

export interface InlineContext {
  /** Our id of the run's owner, who owns the blobs. */
  owner: string
  workspace: Workspace
  blobs: Blobs
  newId: () => string
}

export interface InlineResult {
  output: Record<string, unknown>
  /** What the model reads. */
  text: string
  isError: boolean
  put?: WorkspaceFile[]
  messages?: NewMessage[]
}

interface ToolBase {
  name: string
  toolType: ToolType
  /** For the model: what it does, in what it differs from the others. */
  description: string
  /** For the plan: one line. */
  purpose: string
  input: z.ZodObject
}

/** `inline` tools work on the workspace manifest within the step; `job` tools run foreign code and park the step. */
export type Tool =
  | (ToolBase & { kind: 'job' })
  | (ToolBase & {
      kind: 'inline'
      run(input: Record<string, unknown>, context: InlineContext): Promise<InlineResult>
    })
