import { createKubectl, lastLines, runCommand } from '../../knative/deploy/kubectl.ts'

/** kubectl against the cluster that KUBECONFIG names, as deploy.sh and setup-secrets.sh use it. */
export const kubectlClient = createKubectl()

/** Runs a program to its end; rejects with the last of what it said when it fails. */
export async function run(
  command: string,
  args: readonly string[],
  options: { cwd?: string } = {},
): Promise<string> {
  const { code, stdout, stderr } = await runCommand(command, args, options)
  if (code !== 0) throw new Error(`${command} ended with ${code}: ${lastLines(stderr || stdout)}`)
  return stdout
}

export function kubectl(args: readonly string[], input?: string): Promise<string> {
  return kubectlClient.must(args, input)
}

export function kubectlJson<T>(args: readonly string[]): Promise<T> {
  return kubectlClient.json<T>([...args, '-o', 'json'])
}
