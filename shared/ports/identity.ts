/** Who is calling, from a verified token of a trusted issuer. */
export interface Principal {
  issuer: string
  /** UUID of the user at that issuer. */
  sub: string
  /** From the issuer's tenant claim, else null (the tenant is then the user). */
  tenant_id: string | null
  /** How this issuer's `sub` becomes our user id: itself, or a new uuid of ours. */
  user_id_from: 'sub' | 'new'
  /** The issuer's key that signed the token: an operator may take it out of service. Absent where a ticket stands for the token. */
  key_id?: string
}

export interface Caller extends Principal {
  /** The verified access token itself: only for calls made as the user (Storage). Never logged, never stored. */
  accessToken: string
  /** Unix seconds. */
  expiresAt: number
  /** Base URL of the issuer's Supabase project, for Storage; null when it has none. */
  projectUrl: string | null
  /** Publishable key of that project, or null. */
  projectKey: string | null
}

export interface Identity {
  /** Rejects with AppError `unauthorized` (always the same message) or `unavailable` (keys cannot be had). */
  verify(accessToken: string): Promise<Caller>
}
