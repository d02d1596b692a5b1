import { fileType } from '../core/file-type.ts'
import { MAX_ARTIFACTS_A_STEP } from '../core/limits.ts'
import type { NewArtifact, WorkspaceFile } from '../ports/store.ts'
import type { StepDeps } from './step-deps.ts'

/** Files that a step wrote below here are handed to the user. */
const OUTPUTS = 'outputs/'
const AT_ONCE = 4

/** Copies a step's new files under outputs/ to where its user can fetch them. Repeating it lands on the same objects. */
export async function publishArtifacts(
  deps: Pick<StepDeps, 'blobs' | 'artifacts'>,
  { runId, owner, files }: { runId: string; owner: string; files: readonly WorkspaceFile[] },
): Promise<NewArtifact[]> {
  const outputs = files.filter(({ path }) => path.startsWith(OUTPUTS)).slice(0, MAX_ARTIFACTS_A_STEP)
  const artifacts: NewArtifact[] = []
  for (let start = 0; start < outputs.length; start += AT_ONCE) {
    const batch = outputs.slice(start, start + AT_ONCE).map(async ({ path, sha256, size }) => {
      const filename = path.slice(path.lastIndexOf('/') + 1)
      const bytes = await deps.blobs.get(owner, sha256)
      const published = await deps.artifacts.publish({
        owner,
        runId,
        filename,
        sha256,
        fileType: fileType(filename),
        bytes,
      })
      return {
        filename,
        file_path: path,
        file_type: fileType(filename),
        file_size: size,
        content_hash: sha256,
        ...published,
      }
    })
    artifacts.push(...(await Promise.all(batch)))
  }
  return artifacts
}
