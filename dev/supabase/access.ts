import { timingSafeEqual } from 'node:crypto'
import type { CallerClaims } from './caller.ts'
import { TokenError, type Tokens } from './tokens.ts'

/** No or a wrong API key, or a token that does not verify. */
export class AccessError extends Error {
  readonly code: string

  constructor(code: 'no_key' | 'bad_key' | 'PGRST301' | 'PGRST303', message: string) {
    super(message)
    this.name = 'AccessError'
    this.code = code
  }

  restResponse(): Response {
    const { message } = this
    const fromGateway = this.code === 'no_key' || this.code === 'bad_key'
    const hint =
      this.code === 'no_key'
        ? 'No `apikey` request header or url param was found.'
        : 'Double check your API key.'
    const body = fromGateway ? { message, hint } : { code: this.code, details: null, hint: null, message }
    const headers: Record<string, string> = { 'content-type': 'application/json; charset=utf-8' }
    if (!fromGateway)
      headers['www-authenticate'] = `Bearer error="invalid_token", error_description="${message}"`
    return new Response(JSON.stringify(body), { status: 401, headers })
  }
}

export interface Access {
  /** Checks the API key as the gateway of a hosted project does. @throws AccessError */
  checkKey(request: Request): void
  /** Key and bearer token; without a bearer the key itself says the role. @throws AccessError */
  caller(request: Request): Promise<CallerClaims>
}

export function access(tokens: Tokens, keys: readonly string[]): Access {
  const keyOf = (request: Request): string => {
    const key = request.headers.get('apikey') ?? new URL(request.url).searchParams.get('apikey')
    if (key === null || key === '') throw new AccessError('no_key', 'No API key found in request')
    if (!keys.some((known) => same(known, key))) throw new AccessError('bad_key', 'Invalid API key')
    return key
  }
  return {
    checkKey: (request) => void keyOf(request),
    caller: async (request) => {
      const key = keyOf(request)
      return await verify(tokens, bearerToken(request) ?? key)
    },
  }
}

export function bearerToken(request: Request): string | null {
  return /^bearer +(.*)$/i.exec(request.headers.get('authorization') ?? '')?.[1]?.trim() ?? null
}

async function verify(tokens: Tokens, token: string): Promise<CallerClaims> {
  try {
    return await tokens.verify(token)
  } catch (error) {
    if (!(error instanceof TokenError)) throw error
    if (error.reason === 'expired') throw new AccessError('PGRST303', 'JWT expired')
    const message =
      error.reason === 'invalid' ? 'No suitable key or wrong key type' : 'Expected 3 parts in JWT'
    throw new AccessError('PGRST301', message)
  }
}

function same(left: string, right: string): boolean {
  const a = Buffer.from(left)
  const b = Buffer.from(right)
  return a.length === b.length && timingSafeEqual(a, b)
}
