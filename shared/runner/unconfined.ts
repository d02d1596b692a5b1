import { type Box, dropArguments, limitArguments, type Wrapped } from './box.ts'
import { findExecutable } from './places.ts'

/**
 * No confinement: an own process group and resource limits, for machines that offer nothing else and for pods, which are the
 * sandbox themselves. A tool sees the network and every file that the runner's user may read. As root it still drops to an own
 * user. Processes are counted by the kernel only where the user is the job's own: after such a drop, and in a pod
 * (adapters/kubernetes), where the runner's few threads share it. The watchdog counts them anyway.
 */
export function wrapUnconfined(box: Box, isPod = false): Wrapped {
  const setpriv = findExecutable('setpriv')
  const argv = [...reaper(isPod), ...limitArguments(box, isPod || box.identity !== undefined)]
  const env = { ...box.env, TOOL_DIRECTORY: box.cwd }
  if (!setpriv) return { argv, cwd: box.directories.workspace, env }
  // A change of user disarms the death signal, so it is armed after it: a second setpriv.
  const drop = box.identity ? dropArguments(setpriv, box.identity) : [setpriv, '--no-new-privs', '--']
  return { argv: [...drop, setpriv, '--pdeathsig', 'KILL', ...argv], cwd: box.directories.workspace, env }
}

/**
 * Orphans of a pod's tool fall to the executor, which as a Node program never waits for them: each would stay a zombie and count
 * toward the limit of processes. The tool's parent takes them instead; a tool that kills it has ended itself.
 */
function reaper(isPod: boolean): string[] {
  const tini = isPod ? findExecutable('tini') : undefined
  return tini ? [tini, '-s', '--'] : []
}
