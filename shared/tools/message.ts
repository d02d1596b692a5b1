import * as z from 'zod'
import type { Tool } from './tool.ts'

/** `{message}` → `{delivered: true}`; the text becomes a message of the assistant. */
export const messageTool: Tool = {
  kind: 'inline',
  name: 'message',
  toolType: 'message',
  purpose: 'tells the user something in between',
  description:
    'Shows the user a message while the work goes on. It does not end the run and expects no answer.',
  input: z.object({ message: z.string().min(1).max(20_000) }),
  async run(input, { newId }) {
    return {
      output: { delivered: true },
      text: 'The user can read it.',
      isError: false,
      messages: [
        {
          id: newId(),
          role: 'assistant',
          content: input['message'] as string,
          tool_call_id: null,
          tool_name: 'message',
          is_error: false,
          blocks: null,
        },
      ],
    }
  },
}
