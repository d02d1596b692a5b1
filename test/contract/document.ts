import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import type { Loose } from './call.ts'
import type { Exchange } from './exchange.ts'

const METHODS = ['get', 'post', 'put']
/** In every OpenAPI document a GET has its HEAD, and CORS is the browser's own affair. */
const IMPLIED = { HEAD: 'get', OPTIONS: null } as const

interface Operation {
  /** `POST /agent/execute` */
  name: string
  method: string
  path: string
  pattern: RegExp
  responses: Loose
}

/** Holds what was said to an OpenAPI document: nothing undocumented, every JSON body as its schema says, and not a field more. */
export class DocumentCheck {
  readonly #operations: Operation[]
  readonly #ajv = new Ajv2020({ strict: false, validateFormats: false })
  /** `POST /agent/execute 201 application/json` */
  readonly seen = new Set<string>()
  readonly seenEvents = new Set<string>()
  readonly #schemas: Loose

  constructor(document: Loose) {
    const closed = close(structuredClone(document))
    this.#ajv.addSchema(closed, 'document')
    this.#schemas = closed.components.schemas
    this.#operations = Object.entries<Loose>(closed.paths).flatMap(([path, item]) =>
      METHODS.flatMap((method) =>
        item[method] === undefined
          ? []
          : [
              {
                name: `${method.toUpperCase()} ${path}`,
                method,
                path,
                pattern: patternOf(path),
                responses: item[method].responses,
              },
            ],
      ),
    )
  }

  /** Null: as documented. */
  faultOf({ method, path, status, type, text }: Exchange): string | null {
    const place = `${method} ${path} ${status} ${type}`
    const there = this.#operations.filter(({ pattern }) => pattern.test(path))
    if (there.length === 0)
      return status === 404 || path === '/' || method === 'OPTIONS'
        ? null
        : `${place}: the path is not documented`
    const implied = method in IMPLIED ? IMPLIED[method as keyof typeof IMPLIED] : method.toLowerCase()
    if (implied === null) return null
    const operation = there.find((one) => one.method === implied)
    if (operation === undefined || (method === 'HEAD' && status === 405)) {
      if (status !== 405) return `${place}: the method is not documented`
      for (const one of there) this.seen.add(`${one.name} 405 application/json`)
      return there.every(({ responses }) => responses['405']) ? null : `${place}: 405 is not documented`
    }
    const response = operation.responses[status]
    if (response === undefined) return `${place}: the status is not documented`
    const content = response.content ?? {}
    if (method === 'HEAD' || ((text ?? '') === '' && type === '')) {
      this.seen.add(`${operation.name} ${status} ${Object.keys(content).length === 0 ? '' : type}`.trim())
      return null
    }
    if (content[type] === undefined) return `${place}: the type is not documented`
    this.seen.add(`${operation.name} ${status} ${type}`)
    if (type !== 'application/json') return null
    const pointer = [
      'paths',
      operation.path,
      operation.method,
      'responses',
      String(status),
      'content',
      type,
      'schema',
    ]
    return this.#invalid(pointer, JSON.parse(text ?? ''), place)
  }

  faultOfFrame(stream: 'named' | 'plain', data: Loose): string | null {
    const name = `${stream === 'named' ? 'Event' : 'Plain'}_${data.type}`
    if (this.#schemas[name] === undefined) return `${name}: the event is not documented`
    this.seenEvents.add(name)
    return this.#invalid(['components', 'schemas', name], data, name)
  }

  /** Everything the document promises, in the words of `seen`. */
  promised(): string[] {
    return this.#operations.flatMap(({ name, responses }) =>
      Object.entries<Loose>(responses).flatMap(([status, response]) => {
        const types = Object.keys(response.content ?? {})
        return types.length === 0 ? [`${name} ${status}`] : types.map((type) => `${name} ${status} ${type}`)
      }),
    )
  }

  promisedEvents(): string[] {
    return Object.keys(this.#schemas).filter((name) => /^(Event|Plain)_/.test(name))
  }

  #invalid(pointer: readonly string[], value: unknown, place: string): string | null {
    const escaped = pointer.map((part) =>
      encodeURIComponent(part.replaceAll('~', '~0').replaceAll('/', '~1')),
    )
    const validate = this.#ajv.getSchema(`document#/${escaped.join('/')}`) as ValidateFunction | undefined
    if (validate === undefined) return `${place}: no schema`
    if (validate(value)) return null
    return `${place}: ${this.#ajv.errorsText(validate.errors)} ${JSON.stringify(validate.errors?.at(-1)?.params)}`
  }
}

function patternOf(path: string): RegExp {
  return new RegExp(
    `^${path.replaceAll(/[.+?^$()|[\]\\]/g, String.raw`\$&`).replaceAll(/\{\w+\}/g, '[^/]+')}/?$`,
  )
}

/** Objects that name their fields have no others: an undocumented field is found too. */
function close(value: Loose): Loose {
  if (typeof value !== 'object' || value === null) return value
  for (const item of Object.values(value)) close(item)
  if (value.type === 'object' && value.properties !== undefined && value.additionalProperties === undefined)
    value.additionalProperties = false
  return value
}
