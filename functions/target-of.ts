import type { Target } from '../shared/config/settings.ts'

const EXACT: Readonly<Record<string, Target>> = {
  '/agent/execute': 'execute',
  '/agent/cancel': 'execute',
  '/agent/runs': 'execute',
  '/agent/status': 'status',
  '/agent/logs': 'logs',
  '/agent/stream-ticket': 'logs',
  '/agent/step': 'step',
}
const BELOW: readonly (readonly [RegExp, Target])[] = [
  [/^\/functions\/v1\/agent-execute(-phase2)?\/?$/, 'execute'],
  [/^\/functions\/v1\/agent-status(-phase2)?\/?$/, 'status'],
  [/^\/functions\/v1\/agent-logs(-phase2)?\/?$/, 'logs'],
  [/^\/agent\/(run|stream)\//, 'logs'],
  [/^\/agent\/step\//, 'step'],
]

/** Which function answers a path of the shared host; null for probes, documents and what is not there. */
export function targetOf(path: string): Target | null {
  const plain = path.length > 1 ? path.replace(/\/$/, '') : path
  if (Object.hasOwn(EXACT, plain)) return EXACT[plain] ?? null
  return BELOW.find(([pattern]) => pattern.test(path))?.[1] ?? null
}
