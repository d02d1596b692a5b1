/** The import rule of ARCHITECTURE.md: data flows one way, SDKs stay in their adapter, no cycles. */
const layer = (name, path, allowed) => ({
  name,
  severity: 'error',
  from: { path, pathNot: '\\.(test|suite)\\.ts$' },
  to: { path: '^(shared|functions|dev|test|client|bench|knative)/', pathNot: allowed },
})

module.exports = {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'no-orphans',
      severity: 'error',
      from: { orphan: true, pathNot: '(\\.d\\.mts|\\.test\\.ts|\\.config\\.ts|\\.mjs)$' },
      to: {},
    },
    layer('core-imports-core', '^shared/core/', ['^shared/core/']),
    layer('contract-imports-core', '^shared/contract/', ['^shared/(core|contract)/']),
    layer('ports-are-types', '^shared/ports/', ['^shared/(core|contract|ports)/']),
    layer('tools-below-engine', '^shared/tools/', ['^shared/(core|contract|ports|tools)/']),
    layer('engine-knows-no-adapter', '^shared/engine/', ['^shared/(core|contract|ports|tools|engine)/']),
    layer('adapters-apart', '^shared/adapters/([^/]+)/', [
      '^shared/(core|contract|ports)/',
      '^shared/adapters/$1/',
    ]),
    layer('http-above-engine-ports', '^shared/http/', [
      '^shared/(core|contract|ports|http)/',
      '^shared/config/',
    ]),
    layer('config-reads-core', '^shared/config/', ['^shared/(core|config)/']),
    layer('runner-stands-alone', '^shared/runner/', ['^shared/(core|contract|runner)/']),
    layer('functions-apart', '^functions/([^/]+)/', ['^shared/', '^functions/$1/']),
    layer('deploying-knows-settings', '^knative/', [
      '^shared/(core|config)/',
      '^knative/',
      '^dev/postgres/(migrate|role-lock).ts$',
    ]),
    layer('product-knows-no-stack', '^(shared|functions|client)/', ['^(shared|functions|client)/']),
    {
      name: 'client-imports-types',
      comment:
        'The published client has no dependency: of the service it takes types, which the build writes out.',
      severity: 'error',
      from: { path: '^client/', pathNot: '\\.test\\.ts$' },
      to: { pathNot: '^client/', dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'client-knows-contract',
      severity: 'error',
      from: { path: '^client/', pathNot: '\\.test\\.ts$' },
      to: { pathNot: ['^client/', '^shared/(core|contract)/', '^node_modules/zod/'] },
    },
    {
      name: 'client-for-others',
      severity: 'error',
      from: { path: '^(shared|functions|dev|test|bench|knative)/', pathNot: '\\.test\\.ts$' },
      to: { path: '^client/' },
    },
    {
      name: 'core-is-pure',
      severity: 'error',
      from: { path: '^shared/core/', pathNot: '\\.test\\.ts$' },
      to: { dependencyTypes: ['core', 'npm'] },
    },
    ...[
      ['anthropic', '@anthropic-ai/'],
      ['supabase', '@supabase/'],
      ['upstash', '@upstash/redis'],
      ['qstash', '@upstash/qstash'],
      // QStash signs with a JWT too
      ['(jose|qstash)', 'jose'],
      ['pino', 'pino'],
      ['postgres', 'pg(/|-)'],
      ['kubernetes', '@kubernetes/'],
    ].map(([folder, name]) => ({
      name: `${name.replaceAll(/[^\w@-]+/g, '-')}-only-in-${folder}`,
      severity: 'error',
      from: {
        path: '^(shared|functions)/',
        pathNot: [`^shared/adapters/${folder}/`, '\\.(test|suite)\\.ts$'],
      },
      to: { path: `^node_modules/${name}` },
    })),
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    // Ours only: what an SDK's package calls dist is what the rules above look for.
    exclude: { path: '^((client/)?dist|\\.local)/' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default', 'types'],
    },
  },
}
