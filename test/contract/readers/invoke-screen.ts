import type { FunctionsHttpError, SupabaseClient } from '@supabase/supabase-js'
import type { Loose } from '../call.ts'

/** Calls as generation A does, and reads a refusal as it does: `error` of the JSON in `context`. */
export async function invoke(
  supabase: SupabaseClient,
  name: string,
  body: Record<string, unknown>,
): Promise<{ data: Loose; shown: string | null; status: number }> {
  const { data, error, response } = await supabase.functions.invoke(name, { body })
  if (error === null) return { data, shown: null, status: response?.status ?? 0 }
  if (error.name !== 'FunctionsHttpError') throw error
  const { context } = error as FunctionsHttpError
  return { data: null, shown: (await context.json()).error, status: context.status }
}

/** What the page of a run reads of generation A's status. */
export function invokeScreen(data: Loose): Record<string, unknown> {
  return {
    title: data.run.prompt,
    state: data.run.status,
    bar: data.progress.percentage,
    phase: `${data.progress.current_phase}/${data.progress.total_phases}`,
    steps: data.steps.map((step: Loose) => `${step.step_number} ${step.tool_name} ${step.status}`),
    chat: data.messages.map((message: Loose) => `${message.role}: ${message.content}`),
    files: data.artifacts.map((file: Loose) => `${file.filename} ${file.file_type} ${file.file_size}`),
    log: data.logs.map((log: Loose) => log.message),
  }
}
