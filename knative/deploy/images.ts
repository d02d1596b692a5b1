import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { lastLines, runCommand } from './kubectl.ts'
import { Refusal } from './refusal.ts'
import type { Images } from './release.ts'
import { ROOT } from './render.ts'
import type { Screen } from './screen.ts'

export type Delivery =
  | { kind: 'push'; registry: string }
  | { kind: 'load'; command: string }
  /** Built and delivered by somebody else. */
  | { kind: 'given'; images: Images }

const NAMES = ['services', 'tools'] as const
type Name = (typeof NAMES)[number]
const REPOSITORY: Record<Name, string> = { services: 'agent-functions', tools: 'agent-tools' }

/** Builds and delivers; what is answered names the content: by digest from a registry, by a tag made from it elsewhere. */
export async function deliverImages(
  delivery: Delivery,
  options: { base: string | undefined; screen: Screen },
): Promise<Images> {
  if (delivery.kind === 'given') return delivery.images
  const out = join(ROOT, '.local/images')
  await mkdir(out, { recursive: true })
  const deliver = async (name: Name) => {
    const image =
      delivery.kind === 'push'
        ? await push(name, delivery.registry, out, options.base)
        : await load(name, delivery.command, out, options.base)
    options.screen.line(`${name}: ${image}`)
    return image
  }
  return { services: await deliver('services'), tools: await deliver('tools') }
}

async function push(name: Name, registry: string, out: string, base: string | undefined): Promise<string> {
  await build(name, base, ['--push', registry, '--out', out])
  const digest = (await readFile(join(out, `${name}.digest`), 'utf8')).trim()
  if (!/^sha256:[0-9a-f]{64}$/.test(digest))
    throw new Refusal(`The registry gave no digest for ${REPOSITORY[name]}.`)
  return `${registry}/${REPOSITORY[name]}@${digest}`
}

async function load(name: Name, command: string, out: string, base: string | undefined): Promise<string> {
  const archive = join(out, `${name}.tar`)
  const stamp = join(out, `${name}.tag`)
  // the tag of the last time is right when nothing changed; else the second build is one of cached layers under its new name
  let tag = await readFile(stamp, 'utf8').catch(() => 'new')
  for (let times = 0; times < 2; times++) {
    await build(name, base, ['--archive', out, '--tag', tag])
    const digest = await configDigest(archive)
    if (digest.slice(0, 12) === tag) break
    tag = digest.slice(0, 12)
  }
  await writeFile(stamp, tag)
  const [program = '', ...args] = command.split(' ').filter((word) => word !== '')
  const { code, stderr } = await runCommand(program, [...args, archive])
  if (code !== 0) throw new Refusal(`${command} ${archive} failed: ${lastLines(stderr)}`)
  return `dev.local/${REPOSITORY[name]}:${tag}`
}

async function build(name: Name, base: string | undefined, args: readonly string[]): Promise<void> {
  const { code, stderr } = await runCommand(
    join(ROOT, 'knative/images/build.sh'),
    ['--only', name, ...(base === undefined ? [] : ['--base', base]), ...args],
    { cwd: ROOT },
  )
  if (code !== 0) throw new Refusal(`The image of ${name} was not built: ${lastLines(stderr)}`)
}

/** Of an archive in docker's form: its one image is named by the hash of its configuration, which names every layer by hash. */
async function configDigest(archive: string): Promise<string> {
  const { code, stdout } = await runCommand('tar', ['-xOf', archive, 'manifest.json'])
  const config = code === 0 ? (JSON.parse(stdout) as { Config?: string }[])[0]?.Config : undefined
  const digest = /([0-9a-f]{64})(\.json)?$/.exec(config ?? '')?.[1]
  if (digest === undefined) throw new Refusal(`${archive} is no archive of an image.`)
  return digest
}
