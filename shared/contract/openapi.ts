import * as z from 'zod'
import { errorBody } from './error.ts'
import { namedEvents, plainEvents } from './events.ts'
import { type Operation, operations, type Schemas } from './operations.ts'

type Json = Record<string, unknown>

/**
 * The OpenAPI 3.1 document of all four services, from the schemas in use.
 *
 * @param serverUrl origin of the shared host
 */
export function openapiDocument({ version, serverUrl }: { version: string; serverUrl: string }): Json {
  const paths: Record<string, Record<string, unknown>> = {}
  for (const operation of operations) {
    for (const path of operation.paths) {
      const item = paths[path] ?? {}
      item[operation.method] = operationObject(operation, path)
      paths[path] = item
    }
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Agent API',
      version,
      description: 'Long-running agent runs: create and steer them, read how they stand, follow them live.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: serverUrl }],
    tags: ['execute', 'status', 'logs', 'step', 'probes'].map((name) => ({ name })),
    paths,
    components: {
      schemas: { Error: jsonSchema(errorBody), ...eventSchemas() },
      securitySchemes: {
        user: {
          type: 'http',
          scheme: 'bearer',
          bearerFormat: 'JWT',
          description: 'Access token of a user of a trusted project.',
        },
        ticket: {
          type: 'apiKey',
          in: 'query',
          name: 'ticket',
          description: 'Of POST /agent/stream-ticket, for one run.',
        },
        qstash: {
          type: 'apiKey',
          in: 'header',
          name: 'upstash-signature',
          description: 'Signature of QStash.',
        },
        sweep: {
          type: 'apiKey',
          in: 'header',
          name: 'x-agent-signature',
          description: 'HMAC of the sweeper.',
        },
        job: { type: 'http', scheme: 'bearer', description: 'One-time token of a tool job.' },
      },
    },
  }
}

function operationObject(operation: Operation, path: string): Json {
  const { tag, summary, security, query, headers, body, answers, errors } = operation
  const pathNames = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1] ?? '')
  const parameters = [
    ...pathNames.map((name) => ({ name, in: 'path', required: true, schema: { type: 'string' } })),
    ...parameterObjects('query', query),
    ...parameterObjects('header', headers),
  ]
  return {
    tags: [tag],
    summary,
    operationId: `${operation.method}${path.replace(/[^A-Za-z0-9]+(\w?)/g, (_all, letter: string) => letter.toUpperCase())}`,
    security: security.map((name) => ({ [name]: [] })),
    ...(parameters.length > 0 && { parameters }),
    ...(body && { requestBody: { required: true, content: contentOf(body) } }),
    responses: { ...Object.fromEntries(Object.entries(answers).map(answerEntry)), ...errorEntries(errors) },
  }
}

function answerEntry([status, { description, content }]: [string, Operation['answers'][string]]): [
  string,
  Json,
] {
  return [status, { description, ...(content && { content: contentOf(content) }) }]
}

function errorEntries(statuses: readonly number[]): Record<string, Json> {
  const content = { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } }
  return Object.fromEntries(
    statuses.map((status) => {
      const headers =
        status === 503 || status === 429
          ? { headers: { 'retry-after': { schema: { type: 'integer' } } } }
          : {}
      return [String(status), { description: 'Error', ...headers, content }]
    }),
  )
}

function contentOf(schemas: Schemas): Json {
  return Object.fromEntries(
    Object.entries(schemas).map(([type, schema]) => [
      type,
      schema === null ? {} : { schema: jsonSchema(schema) },
    ]),
  )
}

function parameterObjects(place: 'query' | 'header', fields: Readonly<Record<string, string>> = {}): Json[] {
  return Object.entries(fields).map(([name, description]) => ({
    name,
    in: place,
    description,
    schema: { type: 'string' },
  }))
}

function jsonSchema(schema: z.ZodType): Json {
  const { $schema: _dialect, ...rest } = z.toJSONSchema(schema, {
    io: 'input',
    unrepresentable: 'any',
  }) as Json
  return rest
}

/** The events of both streams: OpenAPI has no place for them among the answers, so they stand by name. */
function eventSchemas(): Json {
  const named = Object.entries(namedEvents).map(([name, schema]): [string, Json] => [
    `Event_${name}`,
    jsonSchema(schema.extend({ type: z.literal(name) })),
  ])
  const plain = Object.entries(plainEvents).map(([name, schema]): [string, Json] => [
    `Plain_${name}`,
    jsonSchema(schema),
  ])
  return Object.fromEntries([...named, ...plain])
}
