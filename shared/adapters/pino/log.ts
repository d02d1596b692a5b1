import { type DestinationStream, pino, stdSerializers } from 'pino'
import type { Log, LogFields } from '../../ports/log.ts'
import { redact } from './redact.ts'

const LEVELS = { 10: 'trace', 20: 'debug', 30: 'info', 40: 'warn', 50: 'error', 60: 'fatal' } as const

/**
 * Structured log, one JSON object a line on stdout. Fields are the closed set of the port; what looks like a credential in a path,
 * an outcome or an error's text is replaced.
 */
export function createLog(
  { service, level, version }: { service: string; level: string; version?: string },
  destination?: DestinationStream,
): Log {
  const options = {
    level,
    base: { service, ...(version === undefined ? {} : { version }) },
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: {
      level: (_label: string, number: number) => ({
        level: LEVELS[number as keyof typeof LEVELS] ?? String(number),
      }),
    },
    serializers: { err: serializeError, path: serializeText, outcome: serializeText },
  }
  return destination === undefined ? pino(options) : pino(options, destination)
}

function serializeText(value: unknown): unknown {
  return typeof value === 'string' ? redact(value) : value
}

/** Name, text, stack and causes of an error; other properties may hold requests with headers, so they are left out. */
function serializeError(value: LogFields['err']): unknown {
  if (!(value instanceof Error)) return serializeText(String(value))
  const { message, stack } = stdSerializers.err(value)
  const code = 'code' in value && typeof value.code === 'string' ? value.code : undefined
  // The name, not that of the class: bundles shorten classes.
  return { type: value.name, code, message: redact(message), stack: redact(stack) }
}
