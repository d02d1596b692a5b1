import type { JWK } from 'jose'
import type pg from 'pg'
import type { Access } from '../access.ts'
import type { Tokens } from '../tokens.ts'

export interface AuthOptions {
  pool: pg.Pool
  tokens: Tokens
  access: Access
  jwks: { keys: JWK[] }
}
