import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { expect, test } from 'vitest'
import * as z from 'zod'
import { funcService, readFuncYaml } from './func-service.ts'
import { hasKubectl, render } from './rendered.ts'

test('func.yaml holds what the schema of func knows, and names what the package has', async () => {
  const func = await readFuncYaml()
  expect(Date.parse(func.created)).toBeGreaterThan(0)
  const manifest = z
    .object({ scripts: z.record(z.string(), z.string()) })
    .parse(JSON.parse(await readFile(resolve(import.meta.dirname, '../../package.json'), 'utf8')))
  const scripts = func.build.buildEnvs
    .filter(({ name }) => name === 'BP_NODE_RUN_SCRIPTS' || name === 'BP_NPM_START_SCRIPT')
    .map(({ value }) => value)
  expect(scripts).toEqual(['build', 'serve'])
  for (const script of scripts) expect(manifest.scripts).toHaveProperty(script)
  expect(manifest.scripts['serve']).toBe('node dist/index.mjs')
})

test('the service that func makes of it has probes, limits, and is sealed', async () => {
  const func = await readFuncYaml()
  const { spec } = funcService(func, { namespace: 'agents', image: 'dev.local/agent-functions:1' })
  expect(spec.template.spec.containers).toMatchObject([
    {
      envFrom: [{ secretRef: { name: 'agent-functions' } }],
      livenessProbe: { httpGet: { path: '/health/liveness' } },
      readinessProbe: { httpGet: { path: '/health/readiness' } },
      resources: { requests: { cpu: expect.any(String) }, limits: { memory: expect.any(String) } },
    },
  ])
  // what the image does without: one process for all four
  expect(JSON.stringify(spec)).not.toContain('FUNCTION_TARGET')
})

test.skipIf(!hasKubectl)('func and kustomize do not fight over a name', async () => {
  const { name } = await readFuncYaml()
  const names = render('sks')
    .filter(({ apiVersion }) => apiVersion.startsWith('serving.knative.dev/'))
    .map(({ metadata }) => metadata.name)
  expect(names).not.toContain(name)
})
