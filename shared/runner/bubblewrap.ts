import { type Box, dropArguments, limitArguments, type Wrapped } from './box.ts'
import { findExecutable, systemParts } from './places.ts'

/**
 * Confines with bubblewrap: own user (unless root), pid, net, ipc, uts and cgroup namespaces, a root in memory with the system
 * read-only, nothing of /home, /root, /var, /run or this repository, no network but an empty loopback.
 *
 * As root the namespaces are made with root's rights and the tool then drops to an own user id: with a user namespace it would
 * stay the host's root for everything the kernel checks by id. Descriptor 4 gets bubblewrap's status lines (the first names
 * the sandbox's first process).
 */
export function wrapInBubblewrap(box: Box): Wrapped {
  const bwrap = findExecutable('bwrap')
  const setpriv = findExecutable('setpriv')
  if (!bwrap) throw new Error('bwrap is not installed')
  if (box.identity && !setpriv) throw new Error('setpriv (util-linux) is not installed')

  const argv = [
    bwrap,
    '--unshare-pid',
    '--unshare-net',
    '--unshare-ipc',
    '--unshare-uts',
    '--unshare-cgroup-try',
  ]
  if (box.identity)
    for (const name of ['CAP_SETUID', 'CAP_SETGID', 'CAP_SETPCAP']) argv.push('--cap-add', name)
  else argv.push('--unshare-user', '--uid', '1000', '--gid', '1000', '--disable-userns')
  argv.push('--hostname', 'tool', '--die-with-parent', '--new-session', '--json-status-fd', '4')

  // Made by hand: parents that bubblewrap makes are for their owner only, and as root the tool is somebody else.
  for (const path of ['/run', '/run/tool', '/run/tool/bin', '/etc'])
    argv.push('--perms', '0755', '--dir', path)
  for (const part of systemParts()) {
    if ('link' in part) argv.push('--symlink', part.link, part.path)
    else argv.push('--ro-bind', part.path, part.path)
  }
  for (const name of ['passwd', 'group', 'hosts'])
    argv.push('--ro-bind', `${box.directories.program}/${name}`, `/etc/${name}`)
  const size = String(box.temporaryBytes)
  argv.push('--proc', '/proc', '--dev', '/dev')
  for (const path of ['/dev/shm', '/tmp']) argv.push('--perms', '1777', '--size', size, '--tmpfs', path)
  argv.push('--ro-bind', process.execPath, box.places.node)
  argv.push('--ro-bind', box.directories.program, box.places.program)
  argv.push('--bind', box.directories.workspace, box.places.workspace)
  argv.push('--remount-ro', '/', '--chdir', '/', '--')
  if (box.identity && setpriv) argv.push(...dropArguments(setpriv, box.identity))
  argv.push(...limitArguments(box, true))
  return { argv, cwd: '/', env: { ...box.env, TOOL_DIRECTORY: box.cwd } }
}
