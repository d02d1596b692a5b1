import { accessSync, constants, lstatSync, readlinkSync, realpathSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Confinement } from './confinement.ts'

/** Where the tool finds things: fixed paths inside a sandbox, the real ones without. */
export interface Places {
  workspace: string
  program: string
  node: string
  temporary: string
  home: string
  path: string
}

/** Directories of one job on the host, all below `root`. */
export interface JobDirectories {
  root: string
  workspace: string
  program: string
  temporary: string
  /** Empty; the namespaces confinement mounts its root here. */
  mount: string
}

const SYSTEM_PATH = [
  '/usr/local/bin',
  '/usr/bin',
  '/bin',
  '/usr/local/go/bin',
  '/usr/local/sbin',
  '/usr/sbin',
  '/sbin',
]

export function jobDirectories(root: string): JobDirectories {
  return {
    root,
    workspace: join(root, 'workspace'),
    program: join(root, 'program'),
    temporary: join(root, 'tmp'),
    mount: join(root, 'mount'),
  }
}

export function placesIn(confinement: Confinement, directories: JobDirectories): Places {
  if (confinement === 'none' || confinement === 'pod') {
    return {
      workspace: directories.workspace,
      program: directories.program,
      node: process.execPath,
      temporary: directories.temporary,
      home: join(directories.temporary, 'home'),
      path: [dirname(process.execPath), ...SYSTEM_PATH].join(':'),
    }
  }
  return {
    workspace: '/workspace',
    program: '/run/tool/program',
    node: '/run/tool/bin/node',
    temporary: '/tmp',
    home: '/tmp/home',
    path: ['/run/tool/bin', ...SYSTEM_PATH].join(':'),
  }
}

/**
 * An executable of the system, by name. Only in the system's own directories: what a user installed below /home or /root is
 * not there inside a sandbox.
 */
export function findExecutable(name: string): string | undefined {
  for (const directory of SYSTEM_PATH) {
    const path = join(directory, name)
    try {
      accessSync(path, constants.X_OK)
      if (/^\/(usr|bin|sbin|nix\/store)\//.test(realpathSync(path))) return path
    } catch {
      // Not in this directory.
    }
  }
  return undefined
}

/** A part of the system that a sandbox shows read-only: a directory or file, or a link such as /bin → usr/bin. */
export type SystemPart = { path: string; directory: boolean } | { path: string; link: string }

const SYSTEM_PARTS = [
  '/usr',
  '/bin',
  '/sbin',
  '/lib',
  '/lib32',
  '/lib64',
  '/libx32',
  '/nix/store',
  // Of /etc only what makes programs find libraries, fonts, types and time: no accounts, keys, hosts or configuration.
  '/etc/alternatives',
  '/etc/fonts',
  '/etc/ld.so.cache',
  '/etc/ld.so.conf',
  '/etc/ld.so.conf.d',
  '/etc/localtime',
  '/etc/mime.types',
  '/etc/python3',
  '/etc/python3.11',
  '/etc/python3.12',
  '/etc/python3.13',
  '/etc/python3.14',
]

export function systemParts(): SystemPart[] {
  const parts: SystemPart[] = []
  for (const path of SYSTEM_PARTS) {
    const found = lstatSync(path, { throwIfNoEntry: false })
    if (!found) continue
    // A link in the root is kept (merged /usr); a link in /etc (localtime) points into /usr and is kept as well.
    if (found.isSymbolicLink()) parts.push({ path, link: readlinkSync(path) })
    else parts.push({ path, directory: found.isDirectory() })
  }
  return parts
}
