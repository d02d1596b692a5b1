/**
 * A project whose users may call. `keys` says how its tokens are verified: by published keys with pinned algorithms, or (legacy)
 * by a shared secret until a date.
 */
export interface TrustedIssuer {
  issuer: string
  audience: string
  userIdFrom: 'sub' | 'new'
  tenantClaim: string | null
  projectUrl: string | null
  projectKey: string | null
  keys:
    | { kind: 'jwks'; url: string; algorithms: readonly string[] }
    | { kind: 'hs256'; secret: string /** Unix milliseconds. */; until: number }
}
