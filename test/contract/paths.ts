import type { Installation } from './installation.ts'

/** The six names that supabase.functions.invoke calls. */
export function functionPaths(): Installation['paths'] {
  const both = (name: string) => [`/functions/v1/agent-${name}`, `/functions/v1/agent-${name}-phase2`]
  return { execute: both('execute'), status: both('status'), logs: both('logs') }
}

/** Every URL of the three functions on the shared host. */
export function apiPaths(): Installation['paths'] {
  const { execute, status, logs } = functionPaths()
  return {
    execute: ['/agent/execute', ...execute],
    status: ['/agent/status', ...status],
    logs: ['/agent/logs', ...logs],
  }
}
