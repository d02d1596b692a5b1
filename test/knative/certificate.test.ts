import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Ajv } from 'ajv'
import { expect, test } from 'vitest'
import schema from './certificate.schema.json' with { type: 'json' }
import { knative, parseYaml } from './rendered.ts'

// The test cluster has no cert-manager: the certificate is held to its schema here.
test('the certificate is what cert-manager takes', async () => {
  const resources = parseYaml(await readFile(join(knative, 'overlays/sks/gateway.yaml'), 'utf8'))
  const certificate = resources.find(({ kind }) => kind === 'Certificate')
  const gateway = resources.find(({ kind }) => kind === 'Gateway')
  if (certificate === undefined) throw new Error('no certificate')
  const isValid = new Ajv({ strict: false }).compile(schema)
  expect(isValid(certificate), JSON.stringify(isValid.errors)).toBe(true)
  expect(isValid({ ...certificate, spec: { ...Object(certificate['spec']), renewBefor: '1h' } })).toBe(false)
  // what it makes is what the gateway shows
  expect(gateway).toMatchObject({
    spec: {
      listeners: [
        { protocol: 'HTTPS', hostname: 'api.swissbrain.ai', tls: { certificateRefs: [{ name: 'api-tls' }] } },
        { protocol: 'HTTP' },
      ],
    },
  })
  expect(certificate).toMatchObject({ spec: { secretName: 'api-tls', dnsNames: ['api.swissbrain.ai'] } })
})
