import { AgentError } from './agent-error.ts'
import {
  type AgentClient,
  type AgentClientOptions,
  createAgentClient,
  type KeyedOptions,
} from './create-agent-client.ts'
import type { AgentStream, StreamOptions } from './stream-run.ts'
import type { CallOptions } from './transport.ts'
import type { CreateAnswer, CreateOptions, StatusAnswer, StatusOptions } from './types.ts'

let configured: AgentClient | undefined

/** Sets, once at the start of the program, the client that the functions below use. */
export function configureAgentClient(options: AgentClientOptions): AgentClient {
  configured = createAgentClient(options)
  return configured
}

/** Makes a run and starts it. */
export async function createAgentRun(
  prompt: string,
  options?: CreateOptions & KeyedOptions,
): Promise<CreateAnswer> {
  return client().create(prompt, options)
}

/** How a run stands, with its steps, messages, files and log. */
export async function getAgentStatus(
  runId: string,
  options?: StatusOptions & CallOptions,
): Promise<StatusAnswer> {
  return client().status(runId, options)
}

/** What happens in a run, from its beginning to its end. */
export function streamAgentLogs(runId: string, options?: StreamOptions): AgentStream {
  return client().stream(runId, options)
}

function client(): AgentClient {
  configured ??= fromEnvironment()
  return configured
}

/** In Node a script may be configured from outside. */
function fromEnvironment(): AgentClient {
  const { AGENT_API_URL: url, AGENT_ACCESS_TOKEN: token } = globalThis.process?.env ?? {}
  if (!url || !token)
    throw new AgentError(
      'not_configured',
      'Call configureAgentClient({ url, supabase }) first, or set AGENT_API_URL and AGENT_ACCESS_TOKEN',
    )
  return createAgentClient({ url, getToken: () => token })
}
