import { existsSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import type { Delivery } from './images.ts'
import { runCommand } from './kubectl.ts'

/** Whether images can be built and get where they have to. */
export async function checkDelivery(delivery: Delivery | null): Promise<string[]> {
  if (delivery === null)
    return [
      'How do images get to the cluster? Give --deliver push --registry REGISTRY, --deliver load --load-command COMMAND, or --image and --tool-image.',
    ]
  if (delivery.kind === 'given') return []
  const tools = await Promise.all(
    ['docker', 'podman', 'buildah'].map(async (tool) => ((await works(tool, ['info'])) ? tool : null)),
  )
  const tool = tools.find((name) => name !== null)
  if (tool === undefined)
    return ['None of docker, podman and buildah works here: install one to build images.']
  if (delivery.kind === 'load') {
    const program = delivery.command.split(' ')[0] ?? ''
    return (await works('sh', ['-c', 'command -v -- "$0"', program]))
      ? []
      : [`--load-command: there is no program ${program}.`]
  }
  const host = delivery.registry.split('/')[0] ?? ''
  const isKnown = tool === 'docker' ? dockerKnows(host) : await works(tool, ['login', '--get-login', host])
  return isKnown ? [] : [`Nobody is logged in at ${host}: ${tool} login ${host}`]
}

async function works(command: string, args: readonly string[]): Promise<boolean> {
  return runCommand(command, args).then(
    ({ code }) => code === 0,
    () => false,
  )
}

function dockerKnows(host: string): boolean {
  const file = join(process.env.DOCKER_CONFIG ?? join(homedir(), '.docker'), 'config.json')
  if (!existsSync(file)) return false
  const config = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>
  const has = (name: string) => Object.keys((config[name] ?? {}) as object).some((key) => key.includes(host))
  return has('auths') || has('credHelpers')
}
