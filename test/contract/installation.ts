import type { SupabaseClient } from '@supabase/supabase-js'
import type { Exchange } from './exchange.ts'

export interface Member {
  id: string
  token: string
}

/** A deployed installation as its callers know it. */
export interface Installation {
  name: string
  /** Base of a path: one for all, or one a function where each stands alone. */
  baseOf(path: string): string
  /** Every URL of the three functions that is there, the one that other cases use first. */
  paths: { execute: readonly string[]; status: readonly string[]; logs: readonly string[] }
  /** Where /health, /ready, /docs and /openapi.json are, and the service that /health names. */
  probes: readonly { url: string; service: string }[]
  /** What supabase-js takes for the project's URL: `<it>/functions/v1/<name>` is called. */
  functionsBase: string
  supabaseUrl: string
  anonKey: string
  alice: Member
  bob: Member
  /** An origin that ALLOWED_ORIGINS names; null: not known, so nothing is said about it. */
  allowedOrigin: string | null
  refusedOrigin: string | null
  /** What was said, for the check against the OpenAPI document. */
  exchanges: Exchange[]
  /** Frames of the streams that were read. */
  frames: { stream: 'named' | 'plain'; data: unknown }[]
  /** Runs that several installations over one database read alike. */
  fixtures: Map<string, Promise<string>>
  /** Runs of a case, and those that were removed. */
  made: Map<string, Member>
  removed: Set<string>
  features: ReadonlySet<Feature>
  hooks: Hooks | null
}

/** What an installation has besides the six functions of generation A; a case that needs more is left out there. */
export type Feature =
  /** All routes of the API, not only the functions of generation A. */
  | 'api'
  /** Runs of this suite come to their end. */
  | 'runs'
  /** The hooks below. */
  | 'local'
  | 'cors'
  | 'refused-origin'

/** What only a stack of this repository's own tests can do. */
export interface Hooks {
  query(text: string, values?: unknown[]): Promise<Record<string, unknown>[]>
  /** A new user, e.g. one whose credit is used up. */
  member(name: string): Promise<Member>
  /** Another valid JWT that is no user. */
  serviceRoleKey: string
}

export interface Case {
  name: string
  needs?: readonly Feature[]
  run(world: World): Promise<void>
}

/** What a case works with. */
export interface World extends Installation {
  fetch: typeof fetch
  /** An unmodified supabase-js whose functions are the installation's, signed in as a member. */
  supabase(member: Member): SupabaseClient
}
