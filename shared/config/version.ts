import manifest from '../../package.json' with { type: 'json' }

/** Version of the package, as `/health` and the OpenAPI document say it. The bundler puts the value in. */
export const VERSION: string = manifest.version
