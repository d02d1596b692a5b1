/** Where and how steps are published; execute and step must say the same, or deduplication would tell their messages apart. */
export function schedulerOptions({
  qstashUrl,
  qstashToken,
  publicBaseUrl,
}: {
  qstashUrl: string
  qstashToken: string
  publicBaseUrl: string
}): {
  url: string
  token: string
  destination: string
  retries: number
  retryDelayExpression: string
  timeoutSeconds: number
  failureCallback: string
} {
  return {
    url: qstashUrl,
    token: qstashToken,
    destination: `${publicBaseUrl}/agent/step`,
    // About two minutes of quick retries; what is still not done then is the sweeper's.
    retries: 5,
    retryDelayExpression: 'min(30000, 1000 * pow(2, retried))',
    // Just above what one step may take, and below the platform's limit of a request (300 s).
    timeoutSeconds: 295,
    failureCallback: `${publicBaseUrl}/agent/step/failure`,
  }
}
