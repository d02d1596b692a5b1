import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto'

// About 50 ms and 16 MB a hash: slow for a guesser, unnoticed by a person.
const COST = 16_384
const BLOCK = 8
const PARALLEL = 1
const KEY_BYTES = 32

function derive(password: string, salt: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    scrypt(password, salt, KEY_BYTES, { N: COST, r: BLOCK, p: PARALLEL }, (error, key) => {
      if (error === null) resolve(key)
      else reject(error)
    })
  })
}

/** `scrypt$N$r$p$salt$key` */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(16)
  const key = await derive(password, salt)
  return ['scrypt', COST, BLOCK, PARALLEL, salt.toString('base64'), key.toString('base64')].join('$')
}

// Compared when there is no such user, so that the answer takes as long as for a wrong password.
const NOBODY = `scrypt$${COST}$${BLOCK}$${PARALLEL}$${Buffer.alloc(16).toString('base64')}$${Buffer.alloc(KEY_BYTES).toString('base64')}`

export async function verifyPassword(password: string, stored: string | null): Promise<boolean> {
  const [, , , , salt = '', key = ''] = (stored ?? NOBODY).split('$')
  const expected = Buffer.from(key, 'base64')
  const actual = await derive(password, Buffer.from(salt, 'base64'))
  return expected.length === actual.length && timingSafeEqual(expected, actual) && stored !== null
}
