import { spawn } from 'node:child_process'

/** Runs a program to its end; rejects with the last of what it said when it fails. */
export function run(
  command: string,
  args: readonly string[],
  { input, cwd, timeoutMs = 600_000 }: { input?: string; cwd?: string; timeoutMs?: number } = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
      timeout: timeoutMs,
      ...(cwd === undefined ? {} : { cwd }),
    })
    let out = ''
    let err = ''
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      out += text
    })
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      err += text
    })
    child.on('error', reject)
    child.on('close', (code) => {
      if (code === 0) return resolve(out)
      reject(
        new Error(
          `${command} ${args.slice(0, 4).join(' ')} ended with ${code}: ${(err || out).slice(-3000)}`,
        ),
      )
    })
    child.stdin?.on('error', () => {})
    child.stdin?.end(input)
  })
}

/** kubectl against the cluster that KUBECONFIG names. */
export function kubectl(args: readonly string[], input?: string): Promise<string> {
  return run('kubectl', args, input === undefined ? {} : { input })
}

export async function kubectlJson<T>(args: readonly string[]): Promise<T> {
  return JSON.parse(await kubectl([...args, '-o', 'json'])) as T
}
