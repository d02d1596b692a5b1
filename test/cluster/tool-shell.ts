import { createRun, type Snapshot, type User, untilStatus } from '../system/kit.ts'
import { commandsPrompt } from './model.ts'
import { kubectlJson } from './run.ts'

export interface Asked {
  name: string
  status: number
  /** The first 300 characters, on one line. */
  body: string
}

/** Makes `ask NAME [arguments of curl]` in a tool's shell: one line of name, status (000: none came) and the body's beginning. */
export const ASK = `ask() {
  name=$1; shift; : > /tmp/body
  status=$(curl -s -m 25 -o /tmp/body -w '%{http_code}' "$@")
  printf '%s\\t%s\\t%s\\n' "$name" "$status" "$(head -c 300 /tmp/body | tr '\\r\\n\\t' '   ')"
}
`

export function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`
}

/** What the user sees of the run's shell commands, in order. */
export function shellOutputs({ steps }: Snapshot): string[] {
  return steps
    .filter(({ tool_name }) => tool_name === 'shell')
    .map(({ tool_output }) => String((tool_output as { stdout?: unknown } | null)?.stdout ?? ''))
}

/** A run of this one command, to its end. */
export async function runShell(user: User, command: string): Promise<{ runId: string; output: string }> {
  const runId = await createRun(user, { prompt: commandsPrompt([command]) })
  const snapshot = await untilStatus(user, runId, 'completed', 150_000)
  return { runId, output: shellOutputs(snapshot)[0] ?? '' }
}

export function readAsked(output: string): Asked[] {
  return output
    .split('\n')
    .map((line) => line.split('\t'))
    .filter((fields) => fields.length === 3)
    .map(([name = '', status = '', body = '']) => ({ name, status: Number(status), body }))
}

export interface ToolJob {
  stepNumber: number
  token: string
}

interface Job {
  spec: { template: { spec: { containers: { env?: { name: string; value: string }[] }[] } } }
}

/** A run's Jobs with the tokens that their runners hold, as only an administrator of the cluster can read them. */
export async function toolJobs(runId: string): Promise<ToolJob[]> {
  const { items } = await kubectlJson<{ items: Job[] }>([
    'get',
    'jobs',
    '-n',
    'agents-sandbox',
    '-l',
    `agent-functions/run=${runId}`,
  ])
  return items.map(({ spec }) => {
    const line = spec.template.spec.containers[0]?.env?.find(({ name }) => name === 'RUNNER_JOB')?.value ?? ''
    const { step_number, token } = JSON.parse(line) as { step_number: number; token: string }
    return { stepNumber: step_number, token }
  })
}
