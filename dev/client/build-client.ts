import { chmod, copyFile, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'

const repository = resolve(import.meta.dirname, '../..')

/**
 * Builds the published client: `agent-client.js`, one minified module for browsers and Node, and `agent-client.d.ts`, which needs no
 * other package. `outDir` is `client/dist` by default.
 */
export async function buildClient({
  outDir = join(repository, 'client/dist'),
} = {}): Promise<{ outDir: string }> {
  await mkdir(resolve(outDir, '..'), { recursive: true })
  const draft = await mkdtemp(`${outDir}-`)
  try {
    const source = join(repository, 'client/agent-client.ts')
    const { rollUpTypes } = await import('./roll-up-types.ts') // the compiler is 10 MB
    await Promise.all([
      bundle(source, join(draft, 'agent-client.js')),
      writeFile(join(draft, 'agent-client.d.ts'), rollUpTypes(source)),
      copyFile(join(repository, 'LICENSE'), join(draft, 'LICENSE')),
    ])
    await chmod(draft, 0o755) // a draft is its maker's alone
    await rm(outDir, { recursive: true, force: true })
    await rename(draft, outDir)
  } finally {
    await rm(draft, { recursive: true, force: true })
  }
  return { outDir }
}

async function bundle(source: string, file: string): Promise<void> {
  const { rolldown } = await import('rolldown')
  const build = await rolldown({
    input: source,
    // The promise of the package: it stands alone.
    external: (id) => {
      if (/^[./]/.test(id)) return false
      throw new Error(`The client must not need ${id}`)
    },
    logLevel: 'warn',
    transform: { target: 'es2022' },
  })
  try {
    await build.write({ file, format: 'esm', minify: true })
  } finally {
    await build.close()
  }
}
