// Loaded by --import before the suites: `vitest` is collect.ts for them, and a module under ?mutant= has the text given for it.
import { registerHooks } from 'node:module'

/** Text by file URL, set by the worker before it imports a mutant. */
globalThis.mutatedModules = new Map()
// assertions look for the settings of a running vitest; none of them is needed
globalThis.__vitest_worker__ ??= { config: {}, current: undefined }
const COLLECT = new URL('./collect.ts', import.meta.url).href

registerHooks({
  resolve(specifier, context, next) {
    if (specifier === 'vitest' && context.parentURL !== COLLECT) return { url: COLLECT, shortCircuit: true }
    const found = next(specifier, context)
    // a suite that was imported for a mutant gets the mutant, and everything else as ever
    const mutant = /\?mutant=\d+$/.exec(context.parentURL ?? '')?.[0]
    if (mutant !== undefined && globalThis.mutatedModules.has(found.url))
      return { ...found, url: found.url + mutant }
    return found
  },
  load(url, context, next) {
    const text = url.includes('?mutant=') ? globalThis.mutatedModules.get(url.split('?')[0]) : undefined
    if (text !== undefined) return { format: 'module-typescript', source: text, shortCircuit: true }
    return next(url, context)
  },
})
