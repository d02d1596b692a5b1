import { posix } from 'node:path'
import { PROGRAM_BYTES } from './limits.ts'
import { findExecutable, type Places } from './places.ts'
import { Refusal } from './refusal.ts'

/** What to run for one tool call. */
export interface Program {
  /** Name of the program's file in the program directory. */
  file: string
  text: string
  argv: string[]
  /** The program's file is its standard input; otherwise there is none. */
  onStdin: boolean
  /** As the tool sees it. */
  cwd: string
  env: Record<string, string>
  /** What the input asks for; undefined when it does not. */
  timeoutSeconds: number | undefined
}

const LANGUAGES = ['javascript', 'typescript', 'python', 'bash', 'ruby', 'go'] as const
type Language = (typeof LANGUAGES)[number]

/**
 * Models write ES modules and CommonJS, and both at once. So the program is a module (top-level await) that finds `require`,
 * `module` and `__dirname` as globals; its own declarations of these names win. It is read from standard input: relative
 * imports then start in the working directory and no program file stays in the workspace.
 */
const COMMON_JS = [
  'import{createRequire}from"node:module"',
  'const d=process.cwd()',
  'globalThis.require=createRequire(d+"/")',
  'globalThis.module={exports:{}}',
  'globalThis.exports=globalThis.module.exports',
  'globalThis.__dirname=d',
  'globalThis.__filename=d+"/program.js"',
  'globalThis.require.main=globalThis.module',
].join(';')

/** Throws a Refusal for a tool, an input or a language that cannot be run here. */
export function makeProgram(
  tool: { name: string; input: Record<string, unknown> },
  places: Places,
  memoryBytes: number,
): Program {
  const { input } = tool
  const timeoutSeconds = readTimeout(input.timeout)
  if (tool.name === 'shell') {
    const shell = findExecutable('bash') ?? '/bin/sh'
    // A file and not -c: an argument ends at 128 KiB. Not a login shell: /etc/profile would set another PATH.
    const base = {
      file: 'command.sh',
      text: readText(input.command, 'command'),
      onStdin: false,
      env: {},
      timeoutSeconds,
    }
    return {
      ...base,
      argv: [shell, `${places.program}/command.sh`],
      cwd: readDirectory(input.working_dir, places),
    }
  }
  if (tool.name === 'code') {
    const language = readLanguage(input.language)
    const base = { text: readText(input.code, 'code'), cwd: places.workspace, timeoutSeconds }
    return { ...base, ...interpret(language, places, memoryBytes) }
  }
  throw new Refusal(`the tool "${tool.name.slice(0, 100)}" does not run as a job; shell and code do`)
}

function interpret(
  language: Language,
  places: Places,
  memoryBytes: number,
): Pick<Program, 'file' | 'argv' | 'onStdin' | 'env'> {
  if (language === 'javascript' || language === 'typescript') {
    // Three quarters for the heap: buffers and the machine code live outside of it and count as well.
    const heapMegabytes = Math.max(32, Math.floor((memoryBytes * 0.75) / 1024 / 1024))
    const type =
      language === 'javascript'
        ? ['--input-type=module']
        : ['--input-type=module-typescript', '--experimental-transform-types']
    const options = [
      `--max-old-space-size=${heapMegabytes}`,
      '--disable-warning=ExperimentalWarning',
      ...type,
    ]
    const argv = [
      places.node,
      ...options,
      '--import',
      `data:text/javascript,${encodeURIComponent(COMMON_JS)}`,
      '-',
    ]
    return { file: 'program.mjs', argv, onStdin: true, env: {} }
  }
  const name = { python: 'python3', bash: 'bash', ruby: 'ruby', go: 'go' }[language]
  const executable = findExecutable(name)
  if (!executable) {
    throw new Refusal(
      `there is no ${name} on this machine, so ${language} does not run here; ${existing()} do`,
    )
  }
  if (language === 'python') {
    // Modules that an earlier call wrote are found; output appears when it is printed, not when the program ends.
    const env = { PYTHONPATH: places.workspace, PYTHONUNBUFFERED: '1', PYTHONDONTWRITEBYTECODE: '1' }
    return { file: 'program.py', argv: [executable, `${places.program}/program.py`], onStdin: false, env }
  }
  if (language === 'ruby') {
    return {
      file: 'program.rb',
      argv: [executable, '-I.', `${places.program}/program.rb`],
      onStdin: false,
      env: {},
    }
  }
  if (language === 'go') {
    const env = {
      GOCACHE: `${places.temporary}/go-build`,
      GOPATH: `${places.temporary}/go`,
      GOFLAGS: '-mod=mod',
      GOPROXY: 'off',
    }
    return {
      file: 'program.go',
      argv: [executable, 'run', `${places.program}/program.go`],
      onStdin: false,
      env,
    }
  }
  return { file: 'program.sh', argv: [executable, `${places.program}/program.sh`], onStdin: false, env: {} }
}

function existing(): string {
  const names = ['javascript', 'typescript']
  for (const [language, name] of [
    ['python', 'python3'],
    ['bash', 'bash'],
    ['ruby', 'ruby'],
    ['go', 'go'],
  ] as const) {
    if (findExecutable(name)) names.push(language)
  }
  const last = names.pop()
  return `${names.join(', ')} and ${last}`
}

function readLanguage(value: unknown): Language {
  const known = LANGUAGES.find((language) => language === value)
  if (!known)
    throw new Refusal(
      `the language ${JSON.stringify(value ?? null).slice(0, 50)} is unknown; ${existing()} run here`,
    )
  return known
}

function readText(value: unknown, field: string): string {
  if (typeof value !== 'string' || value.trim() === '') throw new Refusal(`the tool's input has no ${field}`)
  if (Buffer.byteLength(value) > PROGRAM_BYTES)
    throw new Refusal(`the ${field} is longer than ${PROGRAM_BYTES} bytes`)
  return value
}

function readTimeout(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) && value > 0 ? value : undefined
}

function readDirectory(value: unknown, places: Places): string {
  if (value === undefined || value === null || value === '') return places.workspace
  if (typeof value !== 'string' || value.includes('\0')) throw new Refusal('working_dir is not a path')
  // Models know the workspace by the name that they see in the sandbox.
  const path = posix.resolve(places.workspace, value.replace(/^\/workspace(?=\/|$)/, places.workspace))
  if (path !== places.workspace && !path.startsWith(`${places.workspace}/`)) {
    throw new Refusal('working_dir leads out of the workspace')
  }
  return path
}
