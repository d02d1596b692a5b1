import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { AppError } from '../core/errors.ts'
import type { AppOptions } from './app-options.ts'
import type { App } from './env.ts'
import { route } from './route.ts'

/** Files of swagger-ui-dist that the page needs; everything is served from here, nothing from a CDN. */
const ASSETS: Readonly<Record<string, string>> = {
  'swagger-ui.css': 'text/css; charset=utf-8',
  'swagger-ui-bundle.js': 'text/javascript; charset=utf-8',
}

/** Swagger UI sets styles on elements, so inline styles are allowed; scripts only from here. */
const PAGE_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Agent API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="icon" href="data:,">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
`

const START = `SwaggerUIBundle({ url: '/openapi.json', dom_id: '#swagger-ui', deepLinking: true, validatorUrl: null })
`

/** /openapi.json and /docs, both for all four services. */
export function addDocs(app: App, { version, publicBaseUrl }: AppOptions): void {
  route(app, ['/openapi.json'], {
    GET: [
      async (context) => {
        // Built on the first call: no cold start pays for it.
        const { openapiDocument } = await import('../contract/openapi.ts')
        return context.json(openapiDocument({ version, serverUrl: publicBaseUrl }))
      },
    ],
  })
  route(app, ['/docs'], {
    GET: [
      (context) =>
        context.html(PAGE, 200, { 'content-security-policy': PAGE_POLICY, 'cache-control': 'no-cache' }),
    ],
  })
  route(app, ['/docs/start.js'], {
    GET: [(context) => context.body(START, 200, { 'content-type': 'text/javascript; charset=utf-8' })],
  })
  route(app, ['/docs/:asset'], {
    GET: [
      async (context) => {
        const name = context.req.param('asset') ?? ''
        const type = Object.hasOwn(ASSETS, name) ? ASSETS[name] : undefined
        if (type === undefined) throw new AppError('not_found', 'Not found')
        const bytes = await readAsset(name)
        return context.body(bytes, 200, { 'content-type': type, 'cache-control': 'public, max-age=3600' })
      },
    ],
  })
}

/** Beside the bundle, one folder up (a shared chunk), or from the package when run from source. */
async function readAsset(name: string): Promise<Uint8Array<ArrayBuffer>> {
  for (const folder of ['./assets/', '../assets/']) {
    try {
      return Uint8Array.from(await readFile(new URL(folder + name, import.meta.url)))
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error
    }
  }
  return Uint8Array.from(await readFile(fileURLToPath(import.meta.resolve(`swagger-ui-dist/${name}`))))
}
