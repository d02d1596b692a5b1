import { randomBytes } from 'node:crypto'
import { link, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { type CryptoKey, calculateJwkThumbprint, exportJWK, generateKeyPair, importJWK, type JWK } from 'jose'

/** The signing keys of the local project. */
export interface Keys {
  kid: string
  privateKey: CryptoKey
  publicKey: CryptoKey
  publicJwk: JWK
  /** Secret of HS256 tokens: the anon and service_role keys, and user tokens of the legacy mode. */
  legacySecret: Uint8Array
  /** Secret of signed Storage URLs. */
  storageSecret: Uint8Array
  /** Unix seconds: `iat` of the two API keys, so that they stay the same at every start. */
  createdAt: number
}

interface StoredKeys {
  private_jwk: JWK
  legacy_secret: string
  storage_secret: string
  created_at: number
}

/** Reads `file`, or makes it (mode 0600); of two processes that make it at once both use the first one's. */
export async function loadKeys(file: string): Promise<Keys> {
  return importKeys((await read(file)) ?? (await make(file)))
}

async function read(file: string): Promise<StoredKeys | null> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null
    throw error
  })
  if (text === null) return null
  try {
    return JSON.parse(text) as StoredKeys
  } catch {
    throw new Error(
      `${file} is not JSON: remove it and new keys are made (signed-in users must sign in again).`,
    )
  }
}

async function make(file: string): Promise<StoredKeys> {
  const { privateKey } = await generateKeyPair('ES256', { extractable: true })
  const stored: StoredKeys = {
    private_jwk: await exportJWK(privateKey),
    legacy_secret: randomBytes(40).toString('base64url'),
    storage_secret: randomBytes(40).toString('base64url'),
    created_at: Math.floor(Date.now() / 1000),
  }
  await mkdir(dirname(file), { recursive: true })
  const making = `${file}.${randomBytes(6).toString('hex')}`
  await writeFile(making, `${JSON.stringify(stored, null, 2)}\n`, { mode: 0o600 })
  // A link, unlike a rename, never replaces the keys that somebody else has begun to use.
  await link(making, file).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error
  })
  await rm(making, { force: true })
  return (await read(file)) ?? stored
}

async function importKeys(stored: StoredKeys): Promise<Keys> {
  const { kty, crv, x, y } = stored.private_jwk
  if (kty === undefined || crv === undefined || x === undefined || y === undefined)
    throw new Error('Not an ES256 key')
  const bare: JWK = { kty, crv, x, y }
  const kid = await calculateJwkThumbprint(bare)
  return {
    kid,
    privateKey: (await importJWK(stored.private_jwk, 'ES256')) as CryptoKey,
    publicKey: (await importJWK(bare, 'ES256')) as CryptoKey,
    publicJwk: { ...bare, kid, alg: 'ES256', use: 'sig', key_ops: ['verify'] },
    legacySecret: new TextEncoder().encode(stored.legacy_secret),
    storageSecret: new TextEncoder().encode(stored.storage_secret),
    createdAt: stored.created_at,
  }
}
