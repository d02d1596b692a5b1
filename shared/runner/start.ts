import type { JobFile, JobLimits, JobStartAnswer } from '../contract/job.ts'
import { workspacePathFault } from '../contract/workspace-path.ts'
import { Refusal } from './refusal.ts'

const LIMITS = [
  'timeout_seconds',
  'memory_bytes',
  'output_bytes',
  'workspace_bytes',
  'workspace_files',
  'file_bytes',
] as const satisfies (keyof JobLimits)[]

/**
 * Checks the door's answer to `start` by hand: the same rules as the schema (contract/job.ts) without zod, which would be most
 * of the runner's bundle. Throws a Refusal.
 */
export function checkStart(value: unknown): JobStartAnswer {
  const answer = record(value, 'answer')
  const tool = record(answer.tool, 'tool')
  if (typeof tool.name !== 'string') throw bad('tool name')
  const given = record(answer.limits, 'limits')
  const limits: Partial<JobLimits> = {}
  for (const name of LIMITS) {
    const limit = given[name]
    if (typeof limit !== 'number' || !(limit > 0) || !Number.isFinite(limit)) throw bad(name)
    limits[name] = limit
  }
  if (!Array.isArray(answer.files)) throw bad('files')
  const files = answer.files.map(checkFile)
  checkFiles(files, limits as JobLimits)
  return {
    tool: { name: tool.name, input: record(tool.input, 'tool input') },
    files,
    limits: limits as JobLimits,
    watched: answer.watched === true,
    idempotency_key: String(answer.idempotency_key),
  }
}

function checkFile(value: unknown): JobFile {
  const { path, sha256, size, mode } = record(value, 'file')
  if (typeof path !== 'string') throw bad('path')
  const fault = workspacePathFault(path)
  if (fault) throw new Refusal(`the workspace has a file whose path ${fault}`)
  if (typeof sha256 !== 'string' || !/^[0-9a-f]{64}$/.test(sha256)) throw bad('sha256')
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) throw bad('size')
  if (typeof mode !== 'number' || !Number.isSafeInteger(mode) || mode < 0 || mode > 0o777) throw bad('mode')
  return { path, sha256, size, mode }
}

function checkFiles(files: JobFile[], limits: JobLimits): void {
  if (files.length > limits.workspace_files) {
    throw new Refusal(`the workspace has ${files.length} files, ${limits.workspace_files} are allowed`)
  }
  const bytes = files.reduce((sum, file) => sum + file.size, 0)
  if (bytes > limits.workspace_bytes) {
    throw new Refusal(`the workspace has ${bytes} bytes, ${limits.workspace_bytes} are allowed`)
  }
  const paths = new Set(files.map((file) => file.path))
  if (paths.size < files.length) throw new Refusal('the workspace names a file twice')
  for (const path of paths) {
    for (let end = path.lastIndexOf('/'); end > 0; end = path.lastIndexOf('/', end - 1)) {
      if (paths.has(path.slice(0, end)))
        throw new Refusal(`the workspace has "${path.slice(0, end)}" as a file and a folder`)
    }
  }
}

function record(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw bad(what)
  return value as Record<string, unknown>
}

function bad(what: string): Refusal {
  return new Refusal(`the door's answer has a bad ${what}`)
}
