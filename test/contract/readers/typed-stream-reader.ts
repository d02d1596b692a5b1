import { follow } from '../follow.ts'
import type { World } from '../installation.ts'

export interface TypedScreen {
  /** By step: what the card of a tool shows. */
  tools: Map<
    string,
    { name: string; input: unknown; done: boolean; good: boolean; output: unknown; error: string | null }
  >
  chat: { role: string; text: string }[]
  phases: string[]
  percentage: number
  outputs: { name: string; url: string; type: string; mime: string }[]
  toast: 'success' | 'failure' | null
}

/** Reads the `type` in the JSON and none of the SSE fields; takes every `complete` for success, whatever stands in it. */
export async function typedStreamReader(world: World, path: string): Promise<TypedScreen> {
  const screen: TypedScreen = {
    tools: new Map(),
    chat: [],
    phases: [],
    percentage: 0,
    outputs: [],
    toast: null,
  }
  await follow(world, path, {
    until: () => screen.toast !== null,
    onFrame: ({ data }) => {
      if (data.type === 'tool_call')
        screen.tools.set(data.step_id, {
          name: data.tool_name,
          input: data.tool_input,
          done: false,
          good: false,
          output: null,
          error: null,
        })
      else if (data.type === 'tool_result') {
        const card = screen.tools.get(data.step_id)
        if (card === undefined) throw new Error(`a result without its call: ${data.step_id}`)
        Object.assign(card, { done: true, good: data.success, output: data.output, error: data.error })
      } else if (data.type === 'message') screen.chat.push({ role: data.role, text: data.content })
      else if (data.type === 'phase') screen.phases.push(`${data.from_phase} → ${data.to_phase}`)
      else if (data.type === 'progress') screen.percentage = data.percentage
      else if (data.type === 'output') {
        const { file_name: name, url, type, mime_type: mime } = data.output
        if (name !== data.file_name || url !== data.url) throw new Error('the two places of an output differ')
        screen.outputs.push({ name, url, type, mime })
      } else if (data.type === 'complete') screen.toast = 'success'
      else if (data.type === 'error') screen.toast = 'failure'
    },
  })
  return screen
}
