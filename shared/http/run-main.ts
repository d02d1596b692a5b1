import { writeSync } from 'node:fs'
import { ConfigError } from '../core/config-error.ts'
import type { Running } from './serve.ts'

/**
 * Runs a service as the process's main: a wrong setting, an unfit role or a port in use ends it with one message and status 1; SIGTERM and SIGINT
 * drain it and end it with status 0.
 */
export async function runMain(start: () => Promise<Running>): Promise<void> {
  let running: Running
  try {
    running = await start()
  } catch (error) {
    writeSync(2, `${describe(error)}\n`)
    process.exit(1)
  }
  void running.refused?.then((error) => {
    writeSync(2, `${describe(error)}\n`)
    process.exit(1)
  })
  const stop = () => {
    running.close().then(
      () => process.exit(0),
      (error: unknown) => {
        writeSync(2, `Shutdown failed: ${describe(error)}\n`)
        process.exit(1)
      },
    )
  }
  process.once('SIGTERM', stop)
  process.once('SIGINT', stop)
}

function describe(error: unknown): string {
  if (error instanceof ConfigError) return error.message
  if (!(error instanceof Error)) return String(error)
  const code = 'code' in error ? error.code : undefined
  if (code === 'EADDRINUSE') return 'The port is in use: set PORT to a free one.'
  if (code === 'EACCES') return 'The port may not be opened by this user: set PORT to one above 1023.'
  return error.stack ?? error.message
}
