import type { JobDirectories } from './places.ts'

/**
 * A tool's pod: the runner in one container, the executor in the other. Same user, own processes and files each; they share the
 * workspace and this folder, where the runner puts the program and waits for the executor.
 */
const POD_CONTROL = '/run/tool'
export const POD_SOCKET = `${POD_CONTROL}/runner.sock`

/** Volumes of the pod, the same in both containers but for /tmp, of which each has its own. They go with the pod. */
export const POD_DIRECTORIES: JobDirectories = {
  root: '/tmp',
  workspace: '/workspace',
  program: `${POD_CONTROL}/program`,
  temporary: '/tmp',
  mount: '/tmp',
}
