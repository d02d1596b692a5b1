const JWT = /\beyJ[\w-]{5,}\.[\w-]{5,}\.[\w-]*/g
const BEARER = /\b(bearer|basic)\s+[\w.~+/=-]{8,}/gi
const QUERY = /([?&](?:token|ticket|apikey|access_token|signature)=)[^&\s"']+/gi

/** The text without what looks like a credential: tokens, authorization values, secret query parameters. */
export function redact(text: string): string {
  return text.replace(JWT, '[token]').replace(BEARER, '$1 [redacted]').replace(QUERY, '$1[redacted]')
}
