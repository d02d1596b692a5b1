import * as z from 'zod'

/** Messages on the cache channel `run:<id>`: hints and text that may be lost. */
const liveMessage = z.discriminatedUnion('t', [
  /** Rows up to `seq` are committed; without it, some are. */
  z.object({ t: z.literal('rows'), seq: z.int().optional() }),
  z.object({ t: z.literal('message_delta'), message_id: z.string(), content: z.string() }),
  z.object({
    t: z.literal('terminal'),
    step_id: z.string(),
    stream: z.enum(['stdout', 'stderr']),
    content: z.string(),
  }),
  z.object({ t: z.literal('cancelled') }),
  /** A ticket was used again: connections with a lower number end. */
  z.object({ t: z.literal('ticket'), ticket: z.string(), connection: z.int() }),
])
export type LiveMessage = z.infer<typeof liveMessage>

export function parseLive(text: string): LiveMessage | null {
  try {
    return liveMessage.safeParse(JSON.parse(text)).data ?? null
  } catch {
    return null
  }
}

export const runChannel = (runId: string): string => `run:${runId}`
export const cancelFlag = (runId: string): string => `cancel:${runId}`
export const watchFlag = (runId: string): string => `watch:${runId}`
