import { existsSync, readFileSync } from 'node:fs'
import { parseEnv } from 'node:util'
import type { Settings } from './found.ts'
import type { Kubectl } from './kubectl.ts'
import { Refusal } from './refusal.ts'
import { overlayDir, render } from './render.ts'

const CONFIG_MAP = 'agent-settings'

/** What is not secret: of a file in the form of `.env`, or the ConfigMap `agent-settings` of an overlay. */
export async function readSettings(
  kubectl: Kubectl,
  { file, overlay }: { file: string | undefined; overlay: string },
): Promise<Settings> {
  if (file !== undefined) return parseEnv(readFile(file))
  const found = (await render(kubectl, overlayDir(overlay))).find(
    ({ kind, metadata }) => kind === 'ConfigMap' && metadata.name.startsWith(CONFIG_MAP),
  )
  if (found?.data === undefined) throw new Refusal(`The overlay ${overlay} has no ConfigMap ${CONFIG_MAP}.`)
  return found.data
}

export function readFile(file: string): string {
  if (!existsSync(file)) throw new Refusal(`${file} is not there.`)
  return readFileSync(file, 'utf8')
}
