import { chmod, chown, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { accountFiles, type Box, pickIdentity } from './box.ts'
import type { Confinement } from './confinement.ts'
import { execute } from './execute.ts'
import { jobDirectories, placesIn } from './places.ts'

/**
 * Finds out by doing: runs a tiny tool in each kind, the best first (about 30 ms each). The reason says why not a better one,
 * in words for a terminal.
 */
export async function detectConfinement(
  candidates: readonly Confinement[] = ['bubblewrap', 'namespaces'],
): Promise<{ confinement: Confinement; reason: string }> {
  const reasons: string[] = []
  for (const confinement of candidates) {
    const fault = await tryConfinement(confinement)
    if (fault === undefined) return { confinement, reason: [...reasons, `${confinement} works`].join('; ') }
    reasons.push(`no ${confinement}: ${fault}`)
  }
  return { confinement: 'none', reason: reasons.join('; ') }
}

/** Answers what is wrong, or nothing when it works: the workspace is writable, /proc is its own, the host is not there. */
async function tryConfinement(confinement: Confinement): Promise<string | undefined> {
  if (process.platform !== 'linux') return `${process.platform} has none`
  const root = await mkdtemp(join(tmpdir(), 'confinement-'))
  try {
    const directories = jobDirectories(root)
    const places = placesIn(confinement, directories)
    const identity = pickIdentity()
    for (const path of [directories.workspace, directories.program, directories.mount]) await mkdir(path)
    await chmod(directories.program, 0o755)
    if (identity) await chown(directories.workspace, identity.uid, identity.gid)
    for (const [name, text] of Object.entries(accountFiles(identity)))
      await writeFile(join(directories.program, name), text)
    const test = `set -e; echo x > /workspace/x; test ! -e '${root}'; test ! -d /proc/${process.pid}; exec ${places.node} --version`
    const box: Box = {
      directories,
      places,
      argv: ['/bin/sh', '-c', test],
      cwd: '/workspace',
      env: { PATH: places.path, HOME: places.home, TMPDIR: places.temporary },
      memoryBytes: 256 * 1024 * 1024,
      fileBytes: 1024 * 1024,
      temporaryBytes: 1024 * 1024,
      processes: 64,
      openFiles: 256,
      identity,
    }
    const { outcome, stderr } = await execute({
      confinement,
      box,
      stdin: undefined,
      timeoutSeconds: 10,
      outputBytes: 4096,
      namedPipes: false,
      onOutput: () => undefined,
      signal: new AbortController().signal,
    })
    if (outcome.kind === 'exited' && outcome.exit_code === 0) return undefined
    return `${outcome.kind} ${stderr.trim().slice(0, 200)}`
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  } finally {
    await rm(root, { recursive: true, force: true })
  }
}
