/** What common programs read to go out through a proxy; none without one. */
export function proxyVariables(url: string | undefined): Record<string, string> {
  if (!url) return {}
  const variables: Record<string, string> = {
    NODE_USE_ENV_PROXY: '1',
    NO_PROXY: 'localhost,127.0.0.1',
    no_proxy: 'localhost,127.0.0.1',
  }
  for (const name of ['HTTP_PROXY', 'HTTPS_PROXY']) {
    variables[name] = url
    variables[name.toLowerCase()] = url
  }
  return variables
}
