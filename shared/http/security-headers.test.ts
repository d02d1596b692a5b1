import { expect, it } from 'vitest'
import { createLog } from '../adapters/pino/log.ts'
import { AppError } from '../core/errors.ts'
import { createApp } from './create-app.ts'
import { route } from './route.ts'

function app(publicBaseUrl: string) {
  const made = createApp({
    service: 'test',
    version: '1',
    log: createLog({ service: 'test', level: 'silent' }),
    allowedOrigins: ['https://app.example.com'],
    publicBaseUrl,
    ready: async () => {},
  })
  route(made, ['/fine'], { GET: [(context) => context.json({})] })
  route(made, ['/refused'], {
    GET: [
      () => {
        throw new AppError('unauthorized', 'Unauthorized')
      },
    ],
  })
  route(made, ['/broken'], {
    GET: [
      () => {
        throw new Error('a secret')
      },
    ],
  })
  return made
}
const ANSWERS = [
  ['GET', '/fine'],
  ['GET', '/refused'],
  ['GET', '/broken'],
  ['GET', '/nowhere'],
  ['PUT', '/fine'],
  ['GET', '/health'],
  ['GET', '/ready'],
  ['GET', '/docs'],
  ['GET', '/docs/swagger-ui.css'],
  ['GET', '/openapi.json'],
  ['OPTIONS', '/fine'],
] as const

it.each(ANSWERS)('%s %s says how a browser is to treat it', async (method, path) => {
  const headers = { origin: 'https://app.example.com' }
  const answer = await app('https://api.example.com').request(path, { method, headers })
  const of = (name: string) => answer.headers.get(name)
  expect({
    sniff: of('x-content-type-options'),
    referrer: of('referrer-policy'),
    transport: of('strict-transport-security'),
    resource: of('cross-origin-resource-policy'),
    origin: of('access-control-allow-origin'),
  }).toEqual({
    sniff: 'nosniff',
    referrer: 'no-referrer',
    transport: 'max-age=31536000',
    // front ends live on other origins
    resource: 'cross-origin',
    origin: 'https://app.example.com',
  })
  expect(of('content-security-policy')).toContain("default-src 'none'")
  expect(of('content-security-policy')).toContain("frame-ancestors 'none'")
  if (!path.startsWith('/docs')) expect(of('cache-control')).toBe('no-store')
  expect(of('x-request-id')).toMatch(/^[\w-]{36}$/)
  expect(await answer.text()).not.toContain('a secret')
})

it('asks no browser for encryption where there is none', async () => {
  const answer = await app('http://localhost:8000').request('/fine')
  expect(answer.headers.get('strict-transport-security')).toBeNull()
})

it('the documents load from here only, what their policy allows, and nothing from elsewhere', async () => {
  const made = app('https://api.example.com')
  const page = await made.request('/docs')
  const html = await page.text()
  const sources = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, address = '']) => address)
  expect(sources.filter((address) => address.startsWith('/docs/'))).toHaveLength(3)
  expect(sources.filter((address) => !address.startsWith('/docs/'))).toEqual(['data:,'])
  expect(html).not.toMatch(/<script(?![^>]*src=)/)
  for (const address of sources.filter((one) => one.startsWith('/')))
    expect((await made.request(address)).status).toBe(200)
  const policy = page.headers.get('content-security-policy') ?? ''
  expect(policy).toContain("script-src 'self';")
  expect(policy).not.toMatch(/https?:|unsafe-eval|\*/)
})
