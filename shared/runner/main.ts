import { parseJob, type RunnerJob } from './job.ts'
import { reportLost, runJob } from './run-job.ts'

/**
 * Runs ONE tool job: reads it as a JSON line (job.ts) from RUNNER_JOB or stdin, does it (run-job.ts), ends. Exit status 0: the step has its
 * answer. 1: it has not, the last line on stderr says why. Logs are JSON lines on stderr, without inputs, results or tokens.
 */
const JOB_LINE_BYTES = 64 * 1024
const LAST_WORDS_MS = 10_000

function log(message: string): void {
  process.stderr.write(`${JSON.stringify({ time: new Date().toISOString(), message })}\n`)
}

/** Resolves with the first line; `onEnd` is told when stdin ends after it. */
async function readLine(onEnd: () => void): Promise<string> {
  return await new Promise((resolve, reject) => {
    let text = ''
    let found = false
    process.stdin.setEncoding('utf8')
    process.stdin.on('data', (part: string) => {
      if (found) return
      text += part
      const end = text.indexOf('\n')
      if (end >= 0) {
        found = true
        resolve(text.slice(0, end))
      } else if (text.length > JOB_LINE_BYTES) reject(new Error('the job on stdin is too long'))
    })
    process.stdin.on('error', reject)
    process.stdin.on('end', () => {
      if (found) onEnd()
      else {
        found = true
        resolve(text)
      }
    })
  })
}

const stop = new AbortController()
let stoppedBy: NodeJS.Signals | 'starter' | undefined
function stopFor(why: NodeJS.Signals | 'starter'): void {
  stoppedBy ??= why
  stop.abort(new Error(why === 'starter' ? 'the starter of this runner is gone' : `stopped by ${why}`))
}
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => stopFor(signal))

let job: RunnerJob | undefined
try {
  let ended = false
  const given = process.env['RUNNER_JOB']
  const line =
    given ??
    (await readLine(() => {
      ended = true
      if (job?.lifeline) stopFor('starter')
    }))
  job = parseJob(line)
  if (ended && job.lifeline) stopFor('starter')
  log(`ended: ${await runJob(job, stop.signal)}`)
  process.exitCode = 0
} catch (error) {
  log(error instanceof Error ? error.message : String(error))
  process.exitCode = 1
  if (job && stoppedBy && stoppedBy !== 'starter') {
    // In a pod this is eviction or deletion: said at once, the run need not wait for its deadline.
    await reportLost(
      job,
      `the tool's runner was stopped (${stoppedBy})`,
      AbortSignal.timeout(LAST_WORDS_MS),
    ).then(
      () => {
        process.exitCode = 0
      },
      () => undefined,
    )
  }
}
// Kept connections and an open stdin would hold the process.
process.exit()
