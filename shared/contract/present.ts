import * as z from 'zod'
import { progressOf, type Standing } from '../core/progress.ts'
import { type ArtifactRow, artifactRow, type LogRow, logRow, type RunRow, runRow } from './rows.ts'

/** Screens read names that the tables do not have; rows carry both. */
export const shownRun = runRow.extend({ execution_plan: runRow.shape.plan })
export const shownTask = shownRun.extend({ progress_percentage: z.int().min(0).max(100) })
export const shownArtifact = artifactRow.extend({
  file_name: z.string(),
  download_url: z.string().nullable(),
  output_type: z.string(),
  file_size_bytes: z.number(),
  mime_type: z.string(),
})
export const shownLog = logRow.extend({ content: z.string() })

export function showRun(run: RunRow): z.infer<typeof shownRun> {
  return { ...run, execution_plan: run.plan }
}

export function showArtifact(artifact: ArtifactRow): z.infer<typeof shownArtifact> {
  return {
    ...artifact,
    file_name: artifact.filename,
    download_url: artifact.signed_url ?? artifact.public_url,
    output_type: outputType(artifact.file_type),
    file_size_bytes: artifact.file_size,
    mime_type: artifact.file_type,
  }
}

export function showLog(log: LogRow): z.infer<typeof shownLog> {
  return { ...log, content: log.message }
}

export function standingOf(run: RunRow): Standing {
  return {
    status: run.status,
    current_phase: run.current_phase,
    total_phases: run.plan?.phases.length ?? 0,
    finished_steps: run.completed_steps + run.failed_steps,
  }
}

export function percentageOf(run: RunRow): number {
  return progressOf(standingOf(run))
}

const DOCUMENTS = /pdf|msword|wordprocessing|rtf|markdown|html/
const SHEETS = /csv|spreadsheet|ms-excel/
const SLIDES = /presentation|powerpoint/

/** What kind of thing a screen shows for a MIME type. */
export function outputType(mime: string): string {
  if (SHEETS.test(mime)) return 'spreadsheet'
  if (SLIDES.test(mime)) return 'slides'
  if (DOCUMENTS.test(mime)) return 'document'
  for (const kind of ['image', 'video', 'audio'] as const) if (mime.startsWith(`${kind}/`)) return kind
  if (/json|xml/.test(mime)) return 'data'
  return mime.startsWith('text/') ? 'text' : 'file'
}
