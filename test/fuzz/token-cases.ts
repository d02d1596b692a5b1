import { createHmac, generateKeyPairSync } from 'node:crypto'
import {
  CompactSign,
  type CryptoKey,
  exportJWK,
  exportSPKI,
  generateKeyPair,
  importJWK,
  type JWK,
} from 'jose'
import { type DoorWorld, ENDED_ISSUER, LEGACY_SECRET } from '../tenancy/world.ts'
import { base64url } from './forgeries.ts'

type Claims = Record<string, unknown>
export interface TokenCases {
  forged: Map<string, string>
  /** Of users; what every door has to let in. */
  accepted: Map<string, string>
  /** A right one, to be spoiled in every position. */
  right: string
}

/** Tokens that must be refused, by the class of their fault, around the keys of an issuer that is trusted. */
export async function tokenCases(world: DoorWorld): Promise<TokenCases> {
  const { other, people, project } = world
  const { sub } = people.twin
  const kid = 'other-1'
  const now = Math.floor(Date.now() / 1000)
  const claims: Claims = {
    iss: other.issuer,
    sub,
    aud: 'authenticated',
    role: 'authenticated',
    iat: now,
    exp: now + 3600,
  }
  const raw = (payload: string | Uint8Array, header: Claims = {}, key: CryptoKey = other.privateKey) =>
    new CompactSign(typeof payload === 'string' ? new TextEncoder().encode(payload) : payload)
      .setProtectedHeader({ alg: 'ES256', kid, ...header } as { alg: string })
      .sign(key)
  const es = (more: Claims = {}, header: Claims = {}, key?: CryptoKey) =>
    raw(JSON.stringify({ ...claims, ...more }), header, key)
  /** Whatever header, with the MAC of whatever secret: as a forger would, without a library that refuses. */
  const mac = (header: unknown, payload: unknown, secret: string | Uint8Array, hash = 'sha256') => {
    const text = `${base64url(header)}.${base64url(payload)}`
    return `${text}.${createHmac(hash, secret).update(text).digest('base64url')}`
  }
  const hs = (more: Claims = {}, secret: string = LEGACY_SECRET) =>
    mac({ alg: 'HS256', typ: 'JWT' }, { ...claims, ...more }, secret)

  const right = await es()
  const [head = '', body = '', signature = ''] = right.split('.')
  const mine = await generateKeyPair('ES256')
  const myJwk = await exportJWK(mine.publicKey)
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const publicKey = (await importJWK(other.publicJwk, 'ES256', { extractable: true })) as CryptoKey
  const forged = new Map<string, string>()
  const add = (name: string, token: string) => void forged.set(name, token)

  for (const alg of [
    'none',
    'None',
    'NONE',
    'nOnE',
    '',
    ' ',
    null,
    0,
    [],
    ['ES256'],
    {},
    'ES256 ',
    'es256',
    undefined,
  ]) {
    add(`alg ${JSON.stringify(alg)}, unsigned`, `${base64url({ alg, kid })}.${body}.`)
    add(`alg ${JSON.stringify(alg)}, with a signature`, `${base64url({ alg, kid })}.${body}.${signature}`)
  }
  const publicForms: Record<string, string | Uint8Array> = {
    'the JWK': JSON.stringify(other.publicJwk),
    'the SPKI': await exportSPKI(publicKey),
    'the SPKI without its last line end': (await exportSPKI(publicKey)).trim(),
    'the key set': JSON.stringify({ keys: [other.publicJwk] }),
    x: (other.publicJwk as JWK).x ?? '',
    'the bytes of x': Buffer.from((other.publicJwk as JWK).x ?? '', 'base64url'),
    kid,
    nothing: '',
  }
  for (const [name, secret] of Object.entries(publicForms))
    for (const [alg, hash] of [
      ['HS256', 'sha256'],
      ['HS384', 'sha384'],
      ['HS512', 'sha512'],
    ] as const)
      add(`${alg} with ${name}`, mac({ alg, kid, typ: 'JWT' }, claims, secret, hash))
  for (const alg of ['HS384', 'HS512'] as const)
    add(
      `${alg} with the legacy secret`,
      mac({ alg }, claims, LEGACY_SECRET, alg === 'HS384' ? 'sha384' : 'sha512'),
    )
  for (const alg of [
    'ES384',
    'ES512',
    'RS256',
    'RS512',
    'PS256',
    'EdDSA',
    'Ed25519',
    'ES256K',
    'RSA1_5',
    'dir',
  ])
    add(`${alg} over a signature of ES256`, `${base64url({ alg, kid })}.${body}.${signature}`)
  for (const alg of ['RS256', 'PS256'])
    add(`${alg} of a key of one's own`, await es({}, { alg }, rsa.privateKey as unknown as CryptoKey))

  for (const name of [
    undefined,
    'k2',
    '',
    ' ',
    'OTHER-1',
    'other-1 ',
    '../../../../dev/null',
    '/dev/null',
    'http://127.0.0.1:9/jwks',
    "' or '1'='1",
    '__proto__',
    'constructor',
    '0',
    'a'.repeat(4000),
    null,
    0,
    [kid],
    { kid },
  ])
    add(
      `kid ${String(JSON.stringify(name)).slice(0, 40)}, own key`,
      await es({}, { kid: name }, mine.privateKey).catch(
        () => `${base64url({ alg: 'ES256', kid: name })}.${body}.${signature}`,
      ),
    )
  add('the right kid, own key', await es({}, {}, mine.privateKey))
  const carried: Claims = {
    jwk: myJwk,
    jku: 'http://127.0.0.1:9/jwks.json',
    x5u: 'http://127.0.0.1:9/cert.pem',
    x5c: ['MIIB'],
    x5t: 'AAAA',
  }
  for (const [name, value] of Object.entries(carried))
    add(`${name} that carries the own key`, await es({}, { [name]: value }, mine.privateKey))
  for (const crit of [['exp'], ['b64'], ['unknown'], [], 'exp', [1]])
    add(
      `crit ${JSON.stringify(crit)}`,
      `${base64url({ alg: 'ES256', kid, crit, exp: 1 })}.${body}.${signature}`,
    )
  add('b64 false', `${base64url({ alg: 'ES256', kid, b64: false, crit: ['b64'] })}.${body}.${signature}`)

  const wrong: Record<string, unknown[]> = {
    exp: [now - 6, now - 3600, 0, -1, String(now + 3600), null, undefined, 'never', [now + 3600], {}, true],
    nbf: [now + 600, now + 3600, 1e12, String(now), 'x', [], {}],
    iss: [
      undefined,
      null,
      '',
      'https://evil.example',
      `${other.issuer}/`,
      other.issuer.toUpperCase(),
      ` ${other.issuer}`,
      [other.issuer],
      { iss: other.issuer },
      project.issuer,
      ENDED_ISSUER,
      'supabase',
      '__proto__',
    ],
    aud: [undefined, null, '', 'anon', 'Authenticated', 'authenticated ', [], ['anon'], [null], {}, 1, true],
    role: [
      undefined,
      null,
      '',
      'anon',
      'service_role',
      'supabase_admin',
      'postgres',
      'agent_api',
      'agent_step',
      'AUTHENTICATED',
      'authenticated ',
      ['authenticated'],
      { role: 'authenticated' },
      true,
      1,
    ],
    sub: [
      undefined,
      null,
      '',
      'admin',
      1,
      true,
      [sub],
      { sub },
      `{${sub}}`,
      sub.replaceAll('-', ''),
      `${sub} `,
      ` ${sub}`,
      `${sub}\n`,
      `${sub}\u0000`,
      `${sub}' or '1'='1`,
      `urn:uuid:${sub}`,
      sub.slice(0, -1),
      `${sub}0`,
      sub.replace('-', '‐'),
    ],
  }
  for (const [name, values] of Object.entries(wrong)) {
    for (const value of values) {
      add(`${name} ${JSON.stringify(value)}`, await es({ [name]: value }))
      // the same under the legacy secret, where the anon and service keys of a project are valid tokens too
      add(`${name} ${JSON.stringify(value)}, HS256`, hs({ [name]: value }))
    }
  }
  const text = JSON.stringify(claims)
  add('a second role', await raw(text.replace(/}$/, ',"role":"anon"}')))
  add('a second exp, in the past', await raw(text.replace(/}$/, `,"exp":${now - 60}}`)))
  add('a second sub, no UUID', await raw(text.replace(/}$/, ',"sub":"admin"}')))
  add('a second iss', await raw(text.replace(/}$/, ',"iss":"https://evil.example"}')))
  for (const payload of [
    '[]',
    'null',
    '1',
    '"x"',
    '',
    '{',
    `${text}x`,
    text.replace('{', '{{'),
    '{"__proto__":{"role":"authenticated"}}',
  ])
    add(`payload ${payload.slice(0, 30)}`, await raw(payload))
  add(
    'payload not UTF-8',
    await raw(Buffer.concat([Buffer.from(text.slice(0, -1)), Buffer.from([0xff, 0xfe]), Buffer.from('}')])),
  )

  add('the legacy secret for an issuer with keys only', hs({ iss: project.issuer }))
  add('a wrong secret', hs({}, 'another secret of forty characters or so!'))
  add('an issuer whose secret has ended', hs({ iss: ENDED_ISSUER }))
  add('keys of one issuer, name of the other', await es({ iss: project.issuer }))
  add(
    'keys and kid of one issuer, name of the other',
    await es({ iss: project.issuer }, { kid: project.jwks.keys[0]?.kid }),
  )
  add('the anon key', project.anonKey)
  add('the service key', project.serviceRoleKey)
  add('a publishable key', 'sb_publishable_aaaaaaaaaaaaaaaaaaaaaa_aaaaaaaa')
  add('a secret key', 'sb_secret_aaaaaaaaaaaaaaaaaaaaaa_aaaaaaaa')
  for (const role of ['agent_api', 'agent_step', 'service_role'])
    add(
      `a token of ${role} with everything else right`,
      await project.mintRoleToken({ role, sub, aud: 'authenticated' }),
    )
  add('two parts', `${head}.${body}`)
  add('four parts', `${right}.${signature}`)
  add('five parts, as if encrypted', `${base64url({ alg: 'dir', enc: 'A256GCM' })}..AAAA.AAAA.AAAA`)
  add('no head', `.${body}.${signature}`)
  add('no body', `${head}..${signature}`)
  add('dots', '...')
  add('head that is no JSON', `${base64url('x')}.${body}.${signature}`)
  add('head null', `${base64url('null')}.${body}.${signature}`)
  add('head of __proto__', `${base64url('{"__proto__":{"alg":"ES256"}}')}.${body}.${signature}`)
  add('another body', `${head}.${base64url({ ...claims, sub: people.bob.sub })}.${signature}`)
  add('signature of zeros', `${head}.${body}.${Buffer.alloc(64).toString('base64url')}`)
  add('signature in DER', `${head}.${body}.${Buffer.from('3006020101020101', 'hex').toString('base64url')}`)
  add('a large one with a right signature', await es({ padding: 'x'.repeat(9000) }))

  const accepted = new Map<string, string>([
    ['of the data project', people.alice.token],
    ['of the other project', right],
    ['legacy, until its end', hs()],
    ['for several audiences', await es({ aud: ['anon', 'authenticated'] })],
    ['sub in capitals', await es({ sub: sub.toUpperCase() })],
  ])
  return { forged, accepted, right }
}
