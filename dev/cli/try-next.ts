/** Shell lines that work as printed: in any POSIX shell, with curl and sed alone. `envFile` as the user would type it. */
export function tryNext({ envFile, runId }: { envFile: string; runId: string | undefined }): string[] {
  const auth = `-H "authorization: Bearer $TOKEN"`
  const json = `-H 'content-type: application/json'`
  const run = runId ?? '<run_id>'
  return [
    `. ${envFile}`,
    `TOKEN=$(curl -s "$SUPABASE_URL/auth/v1/token?grant_type=password" -H "apikey: $SUPABASE_ANON_KEY" ${json} -d "{\\"email\\":\\"$DEMO_EMAIL\\",\\"password\\":\\"$DEMO_PASSWORD\\"}" | sed 's/.*"access_token" *: *"\\([^"]*\\)".*/\\1/')`,
    `curl -s "$API_URL/agent/execute" ${auth} ${json} -d '{"action":"create","prompt":"What is 6 times 7?"}'`,
    `curl -s "$API_URL/agent/status" ${auth} ${json} -d '{"run_id":"${run}"}'`,
    `curl -sN "$API_URL/agent/run/${run}/stream" ${auth}`,
  ]
}
