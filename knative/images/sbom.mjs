// Makes one CycloneDX document of an image: Debian's packages (lines "name<TAB>version<TAB>architecture" on stdin) and, in the
// environment variable BUNDLED, npm's own document of what the bundles hold.   node sbom.mjs IMAGE < packages > image.cdx.json
import { text } from 'node:stream/consumers'

const [image = ''] = process.argv.slice(2)
const bundled = process.env.BUNDLED ? JSON.parse(process.env.BUNDLED) : { components: [], dependencies: [] }
const debian = (await text(process.stdin))
  .split('\n')
  .filter((line) => line !== '')
  .map((line) => {
    const [name = '', version = '', architecture = ''] = line.split('\t')
    const plain = name.replace(/:.*/, '')
    const purl = `pkg:deb/debian/${plain}@${encodeURIComponent(version)}?arch=${architecture}`
    return { type: 'library', 'bom-ref': purl, name: plain, version, purl }
  })
if (debian.length === 0) throw new Error(`${image}: no list of Debian's packages on stdin`)
const document = {
  ...bundled,
  $schema: 'http://cyclonedx.org/schema/bom-1.5.schema.json',
  bomFormat: 'CycloneDX',
  specVersion: '1.5',
  version: 1,
  metadata: { component: { type: 'container', 'bom-ref': image, name: image } },
  components: [...bundled.components, ...debian],
}
process.stdout.write(`${JSON.stringify(document, null, 1)}\n`)
