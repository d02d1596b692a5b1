import { randomUUID } from 'node:crypto'
import { type Api, post } from './api.ts'
import type { DemoUser } from './demo-user.ts'
import { FINAL, followRun, type Json } from './follow-run.ts'
import { saveArtifacts } from './save-artifacts.ts'
import type { Screen } from './screen.ts'
import { uploadFiles } from './upload-files.ts'

export interface RunResult {
  runId: string
  status: string
  /** Local paths of the downloaded artifacts. */
  saved: string[]
}

/**
 * One run as a front end does it: files into the user's folder, create, the named stream, artifacts by their URLs. Rejects with ApiError
 * when the API refuses, or when the signal aborts. `stopWaiting`: give up when the run asks the user something.
 */
export async function runOnce(
  api: Api,
  user: DemoUser,
  screen: Screen,
  options: { prompt: string; files: readonly string[]; artifactDir: string; stopWaiting: boolean },
): Promise<RunResult> {
  const attachments = await uploadFiles(user, options.files)
  const body = {
    action: 'create',
    prompt: options.prompt,
    ...(attachments.length > 0 ? { attachments } : {}),
  }
  const { run_id: runId } = await post<{ run_id: string }>(api, '/agent/execute', body, {
    'idempotency-key': randomUUID(),
  })
  screen.print(screen.style.dim(`run ${runId}`), '')
  screen.emit('created', { run_id: runId })
  const artifacts = new Map<string, Json>()
  let status = 'created'
  screen.begin()
  try {
    for await (const event of followRun(api, runId)) {
      screen.show(event)
      if (event.event === 'artifact') {
        const artifact = event.data.artifact as Json
        artifacts.set(String(artifact.id), artifact)
      }
      if (event.event === 'status') status = String(event.data.status)
      if (event.event === 'run') status = String((event.data.run as Json).status)
      if (status === 'waiting_user' && event.event === 'status') {
        screen.print(
          `The run waits for an answer: POST /agent/execute {"action":"resume","run_id":"${runId}","user_input":"…"}`,
        )
        if (options.stopWaiting) break
      }
      if (FINAL.has(status) && event.event === 'run') break
    }
  } finally {
    screen.end()
  }
  const saved = await saveArtifacts([...artifacts.values()], `${options.artifactDir}/${runId}`, screen.log)
  return { runId, status, saved }
}
