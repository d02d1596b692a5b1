/** Sends a call of supabase.functions.invoke to API_URL: method, headers, body, status and stream stay as they are. */
export async function forward(request: Request, name: string): Promise<Response> {
  const api = Deno.env.get('API_URL')?.trim().replace(/\/+$/, '')
  if (!api) return unavailable(request, 'API_URL is not set: supabase secrets set API_URL=https://…')
  const { method, body, signal } = request
  const headers = new Headers(request.headers)
  headers.delete('host') // that of API_URL
  try {
    const url = `${api}/functions/v1/${name}${new URL(request.url).search}`
    return await fetch(url, { method, headers, body, signal, redirect: 'manual' })
  } catch (error) {
    console.error(`${name}: ${error}`)
    return unavailable(request, 'The agent service cannot be reached')
  }
}

function unavailable({ headers: asked }: Request, message: string): Response {
  const request_id = crypto.randomUUID()
  const texts = { error: message, detail: message, message }
  const headers = new Headers({ 'x-request-id': request_id, 'retry-after': '2', vary: 'Origin' })
  // Nothing here that an origin may not read, so any of them may.
  headers.set('access-control-allow-origin', asked.get('origin') ?? '*')
  headers.set('access-control-allow-credentials', 'true')
  headers.set('access-control-expose-headers', 'x-request-id, retry-after')
  return Response.json(
    { success: false, ...texts, code: 'unavailable', request_id },
    { status: 503, headers },
  )
}
