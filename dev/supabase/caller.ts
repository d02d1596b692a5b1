/** Who makes a request, as far as SQL is concerned: the claims of a verified token and the role it names. */
export interface CallerClaims {
  role: string
  claims: Record<string, unknown>
}

/** What request.* settings tell SQL about the HTTP request. */
export interface RequestFacts {
  method: string
  path: string
  headers: Record<string, string>
}
