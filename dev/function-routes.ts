import type { Target } from '../shared/config/settings.ts'

/** Which function answers which path; the same table is in knative/ for the cluster's router. */
export const functionRoutes: Record<Target, readonly string[]> = {
  execute: [
    '/agent/execute',
    '/functions/v1/agent-execute',
    '/functions/v1/agent-execute-phase2',
    '/agent/cancel',
    '/agent/runs',
  ],
  status: [
    '/agent/status',
    '/functions/v1/agent-status',
    '/functions/v1/agent-status-phase2',
    // These speak for all four.
    '/health',
    '/ready',
    '/docs/**',
    '/openapi.json',
  ],
  logs: [
    '/agent/logs',
    '/functions/v1/agent-logs',
    '/functions/v1/agent-logs-phase2',
    '/agent/run/*/stream',
    '/agent/stream/*',
    '/agent/stream-ticket',
  ],
  step: ['/agent/step/**'],
}

/** Milliseconds without a request after which a function is stopped. Short, so that going to zero is seen; Knative's default is 60 s. */
export const idleMs: Record<Target, number> = { execute: 4_000, status: 4_000, logs: 4_000, step: 3_000 }
