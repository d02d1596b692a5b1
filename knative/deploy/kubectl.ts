import { spawn } from 'node:child_process'
import { Refusal } from './refusal.ts'
import { PASSING_NAMES, SECRET_NAMES } from './secret-table.ts'

export interface Ended {
  code: number
  stdout: string
  stderr: string
}

export interface Kubectl {
  /** Secrets go in by `stdin` and come out by `stdout`, never as arguments. Rejects with Refusal when there is no kubectl. */
  run(args: readonly string[], stdin?: string): Promise<Ended>
  /** As `run`, parsed. @throws Refusal with what kubectl said, when it fails */
  json<T>(args: readonly string[], stdin?: string): Promise<T>
  /** As `run`. @throws Refusal with what kubectl said, when it fails */
  must(args: readonly string[], stdin?: string): Promise<string>
}

/** Without what is secret: a child needs the path and perhaps a cloud's login for kubectl, never a key of ours. */
export function childEnv(env: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
  const hidden = new Set<string>([...SECRET_NAMES, ...PASSING_NAMES])
  return Object.fromEntries(Object.entries(env).filter(([name]) => !hidden.has(name)))
}

/** `kubectl` of the PATH, with one context. */
export function createKubectl({ context }: { context?: string | undefined } = {}): Kubectl {
  const common = context === undefined ? [] : ['--context', context]
  const run: Kubectl['run'] = (args, stdin) => runCommand('kubectl', [...common, ...args], { stdin })
  const must: Kubectl['must'] = async (args, stdin) => {
    const { code, stdout, stderr } = await run(args, stdin)
    if (code !== 0) throw new Refusal(`kubectl ${args.slice(0, 3).join(' ')} failed: ${lastLines(stderr)}`)
    return stdout
  }
  return {
    run,
    must,
    json: async <T>(args: readonly string[], stdin?: string) => JSON.parse(await must(args, stdin)) as T,
  }
}

/** What a program said last, short enough for a message. */
export function lastLines(text: string, lines = 6): string {
  return text
    .split('\n')
    .filter((line) => line.trim() !== '' && !line.startsWith('WARNING: version difference'))
    .slice(-lines)
    .join('\n')
    .slice(-2000)
}

export function runCommand(
  command: string,
  args: readonly string[],
  options: { stdin?: string | undefined; env?: NodeJS.ProcessEnv; cwd?: string; show?: boolean } = {},
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const out = options.show ? 'inherit' : 'pipe'
    const child = spawn(command, args, {
      stdio: ['pipe', out, out],
      env: options.env ?? childEnv(),
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    })
    let stdout = ''
    let stderr = ''
    child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      stdout += chunk
    })
    child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
      stderr += chunk
    })
    child.on('error', (error: NodeJS.ErrnoException) =>
      reject(
        new Refusal(error.code === 'ENOENT' ? `${command} is not installed, or not in PATH.` : error.message),
      ),
    )
    child.on('close', (code) => resolve({ code: code ?? 1, stdout, stderr }))
    // a child that ends before it has read everything says why by its status
    child.stdin?.on('error', () => {})
    child.stdin?.end(options.stdin ?? '')
  })
}
