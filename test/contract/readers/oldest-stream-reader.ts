import { follow } from '../follow.ts'
import type { World } from '../installation.ts'

/** What the oldest front end shows of a run. */
export interface OldestScreen {
  status: string
  progress: number
  phase: string | null
  thoughts: string[]
  /** By id: what the step list says. */
  steps: Map<string, string>
  terminal: string
  files: { name: string; url: string }[]
  /** Null: the screen still turns its wheel. */
  end: { good: boolean; text: string } | null
  /** The connection broke: it would poll now. */
  polls: boolean
}

/**
 * The oldest reader of the named stream: fetch, the SSE `event` field, and seven names; whatever has another name it drops. It never
 * polls while a stream works.
 */
export async function oldestStreamReader(world: World, path: string): Promise<OldestScreen> {
  const screen: OldestScreen = {
    status: '',
    progress: 0,
    phase: null,
    thoughts: [],
    steps: new Map(),
    terminal: '',
    files: [],
    end: null,
    polls: false,
  }
  const { end } = await follow(world, path, {
    until: () => screen.end !== null,
    onFrame: ({ event, data }) => {
      if (event === 'status') {
        screen.status = data.status
        screen.progress = data.progress
        screen.phase = data.phase
      } else if (event === 'thinking') screen.thoughts.push(data.content)
      else if (event === 'step') screen.steps.set(data.step.id, `${data.step.tool_name} ${data.step.status}`)
      else if (event === 'terminal') screen.terminal += data.content
      else if (event === 'artifact')
        screen.files.push({ name: data.artifact.file_name, url: data.artifact.download_url })
      else if (event === 'complete') screen.end = { good: true, text: data.result ?? data.message }
      else if (event === 'error') screen.end = { good: false, text: data.message }
    },
  })
  screen.polls = end === 'broken' && screen.end === null
  return screen
}
