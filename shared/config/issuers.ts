import * as z from 'zod'
import type { TrustedIssuer } from '../core/issuer.ts'
import { bypassingRole } from './service-keys.ts'

/** Algorithms of keys that an issuer publishes. HS256 is not among them: a shared secret is a row of its own, with an end. */
const ALGORITHMS = ['ES256', 'ES384', 'ES512', 'RS256', 'RS384', 'RS512', 'PS256', 'EdDSA'] as const

const address = z
  .string()
  .refine((value) => /^https?:\/\//.test(value) && URL.canParse(value), 'must be an http or https address')
const base = {
  issuer: z.string().min(1),
  audience: z.string().min(1).default('authenticated'),
  user_id: z.enum(['sub', 'new']),
  tenant_claim: z.string().min(1).optional(),
  project_url: address.transform((value) => value.replace(/\/+$/, '')).optional(),
  project_key: z
    .string()
    .min(1)
    .refine((key) => bypassingRole(key) === null, 'must be the anon or publishable key, not a service key')
    .optional(),
}

const row = z
  .object({
    ...base,
    jwks_url: address.optional(),
    algorithms: z.array(z.enum(ALGORITHMS)).min(1).optional(),
    hs256_secret: z.string().min(32).optional(),
    until: z.iso.datetime({ offset: true }).or(z.iso.date()).optional(),
  })
  .superRefine((value, context) => {
    if (value.hs256_secret === undefined) {
      if (value.until !== undefined) context.addIssue('until belongs to hs256_secret')
      return
    }
    if (value.jwks_url !== undefined) context.addIssue('jwks_url and hs256_secret need a row each')
    if (value.algorithms !== undefined) context.addIssue('algorithms does not go with hs256_secret')
    if (value.until === undefined) context.addIssue('hs256_secret needs until, the date of its end')
  })

const list = z
  .array(row)
  .min(1)
  .superRefine((rows, context) => {
    const ways = new Map<string, string>()
    for (const { issuer, user_id } of rows) {
      if ((ways.get(issuer) ?? user_id) !== user_id)
        context.addIssue('the rows of one issuer need the same user_id')
      ways.set(issuer, user_id)
    }
    // The same sub at two projects is two people; who is one person in both is written into private.principals.
    if ([...ways.values()].filter((way) => way === 'sub').length > 1)
      context.addIssue('only one issuer may have user_id "sub", the others need "new"')
  })
  .transform((rows) => rows.map(toIssuer))

function toIssuer(value: z.infer<typeof row>): TrustedIssuer {
  return {
    issuer: value.issuer,
    audience: value.audience,
    userIdFrom: value.user_id,
    tenantClaim: value.tenant_claim ?? null,
    projectUrl: value.project_url ?? null,
    projectKey: value.project_key ?? null,
    keys:
      value.hs256_secret !== undefined
        ? { kind: 'hs256', secret: value.hs256_secret, until: Date.parse(value.until ?? '') }
        : {
            kind: 'jwks',
            url: value.jwks_url ?? `${value.issuer.replace(/\/+$/, '')}/.well-known/jwks.json`,
            algorithms: value.algorithms ?? ['ES256', 'RS256', 'EdDSA'],
          },
  }
}

/** Text of TRUSTED_ISSUERS → rows. No message repeats a value: a row may hold a secret. */
export const issuersSchema: z.ZodType<readonly TrustedIssuer[]> = z.string().transform((text, context) => {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    context.addIssue('must be JSON')
    return z.NEVER
  }
  const parsed = list.safeParse(value)
  if (parsed.success) return parsed.data
  for (const issue of parsed.error.issues)
    context.addIssue(`${issue.path.join('.') || 'list'}: ${issue.message}`)
  return z.NEVER
})
