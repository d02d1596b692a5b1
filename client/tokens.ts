import { AgentError } from './agent-error.ts'

/** What is used of a supabase-js client, whatever its version. */
export interface SupabaseSession {
  auth: {
    getSession(): Promise<SessionAnswer>
    refreshSession(): Promise<SessionAnswer>
  }
}
interface SessionAnswer {
  data: { session: { access_token: string } | null }
  error?: { name: string; message: string } | null
}

/** The user's access token, asked for before every request. `refresh`: the service refused the last one, make a new one. */
export type GetToken = (ask: {
  refresh: boolean
}) => string | null | undefined | Promise<string | null | undefined>

/** Gives the token to use; a refused one is renewed, once for all who were refused at the same time. */
export type Tokens = (refused?: string) => Promise<string>

export function createTokens(getToken: GetToken): Tokens {
  let renewing: Promise<string> | undefined
  const ask = async (refresh: boolean): Promise<string> => {
    let token: string | null | undefined
    try {
      token = await getToken({ refresh })
    } catch (cause) {
      if (cause instanceof AgentError) throw cause
      throw new AgentError('network_error', `The access token cannot be had: ${String(cause)}`, { cause })
    }
    if (token) return token
    throw new AgentError('unauthorized', 'There is no session: sign the user in first', { status: 401 })
  }
  return async (refused) => {
    const token = await ask(false)
    if (token !== refused) return token
    renewing ??= ask(true).finally(() => {
      renewing = undefined
    })
    return renewing
  }
}

export function sessionToken({ auth }: SupabaseSession): GetToken {
  return async ({ refresh }) => {
    const { data, error } = await (refresh ? auth.refreshSession() : auth.getSession())
    // Offline while the token had to be renewed: the session is still there.
    if (error?.name === 'AuthRetryableFetchError') throw error
    return data.session?.access_token
  }
}
