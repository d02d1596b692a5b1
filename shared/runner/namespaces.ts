import { type Box, dropArguments, limitArguments, type Wrapped } from './box.ts'
import { findExecutable, systemParts } from './places.ts'

const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`

/**
 * The root of the sandbox, built by sh as the first process of the new namespaces. Two levels: the tree stands in `jail` of a
 * small file system in memory that becomes the root (pivot_root, so that nothing of the host is mounted any more), and the
 * tool is chrooted into `jail`, because the kernel lets nobody make a user namespace from inside a chroot: the tool cannot
 * become root of a namespace of its own and reach the parts of the kernel that only such a root reaches.
 */
function mountScript(box: Box): string {
  const jail = `${box.directories.mount}/jail`
  const at = (path: string): string => quote(jail + path)
  const lines = [
    'set -eu',
    `mount -t tmpfs -o mode=755,size=4m,nosuid,nodev tool ${quote(box.directories.mount)}`,
    'show() { mount --rbind "$1" "$2"; mount -o remount,bind,ro,nosuid,nodev "$2"; }',
    `mkdir -p ${['', '/etc', '/proc', '/dev/shm', '/tmp', '/workspace', '/run/tool/bin', '/run/tool/program'].map(at).join(' ')}`,
  ]
  for (const part of systemParts()) {
    if ('link' in part) lines.push(`ln -s ${quote(part.link)} ${at(part.path)}`)
    else if (part.directory)
      lines.push(`mkdir -p ${at(part.path)}; show ${quote(part.path)} ${at(part.path)}`)
    else lines.push(`: > ${at(part.path)}; show ${quote(part.path)} ${at(part.path)}`)
    // The script itself still needs programs after the root has changed: the same paths outside of the jail.
    const top = part.path.split('/')[1]
    if (part.path === `/${top}`) lines.push(`ln -s jail/${top} ${quote(`${box.directories.mount}/${top}`)}`)
  }
  for (const name of ['passwd', 'group', 'hosts']) {
    lines.push(`cat ${quote(`${box.directories.program}/${name}`)} > ${at(`/etc/${name}`)}`)
  }
  for (const name of ['null', 'zero', 'full', 'random', 'urandom']) {
    lines.push(`: > ${at(`/dev/${name}`)}; mount --bind /dev/${name} ${at(`/dev/${name}`)}`)
  }
  lines.push(`ln -s /proc/self/fd ${at('/dev/fd')}`)
  for (const [number, name] of ['stdin', 'stdout', 'stderr'].entries()) {
    lines.push(`ln -s /proc/self/fd/${number} ${at(`/dev/${name}`)}`)
  }
  for (const path of ['/dev/shm', '/tmp']) {
    lines.push(`mount -t tmpfs -o mode=1777,nosuid,nodev,size=${box.temporaryBytes} tool ${at(path)}`)
  }
  lines.push(
    `mount -t proc -o nosuid,nodev,noexec tool ${at('/proc')}`,
    `: > ${at(box.places.node)}; show ${quote(process.execPath)} ${at(box.places.node)}`,
    `show ${quote(box.directories.program)} ${at(box.places.program)}`,
    `mount --bind ${quote(box.directories.workspace)} ${at(box.places.workspace)}`,
    `mount -o remount,bind,nosuid,nodev ${at(box.places.workspace)}`,
    // umount and mount read /proc after the root has changed.
    `ln -s jail/proc ${quote(`${box.directories.mount}/proc`)}`,
    // Loopback inside the empty network: programs that talk to themselves work. Not every system has ip.
    'ip link set lo up 2>/dev/null || :',
    'hostname tool 2>/dev/null || :',
    `cd ${quote(box.directories.mount)}; mkdir old; pivot_root . old; cd /`,
    'umount -l /old; rmdir /old; mount -o remount,bind,ro,nosuid,nodev /',
    // A command and not exec: this shell stays the namespace's first process and reaps orphans.
    'set +e; "$@"',
    'exit $?',
  )
  return lines.join('\n')
}

/** Confines with util-linux alone: same picture as bubblewrap.ts, for machines without it. */
export function wrapInNamespaces(box: Box): Wrapped {
  const setpriv = findExecutable('setpriv')
  const unshare = findExecutable('unshare')
  if (!setpriv || !unshare) throw new Error('unshare and setpriv (util-linux) are not installed')
  // mount and umount refuse everybody but user 0, tar as user 0 wants to change owners: root of one namespace builds, user 1000
  // of one inside it works.
  const user = box.identity ? [] : ['--user', '--map-root-user']
  const inner = box.identity
    ? []
    : [unshare, '--user', '--map-user=1000', '--map-group=1000', '--keep-caps', '--']
  const argv = [
    // Dies with the runner: setpriv arms it for unshare, --kill-child for the first process, the kernel for all behind it.
    setpriv,
    '--pdeathsig',
    'KILL',
    unshare,
    ...user,
    '--mount',
    '--pid',
    '--net',
    '--ipc',
    '--uts',
    '--cgroup',
    '--fork',
    '--kill-child',
    '--',
    '/bin/sh',
    '-c',
    mountScript(box),
    'sh',
    ...inner,
    'chroot',
    '/jail',
    ...dropArguments(setpriv, box.identity),
    ...limitArguments(box, true),
  ]
  return { argv, cwd: '/', env: { ...box.env, TOOL_DIRECTORY: box.cwd } }
}
