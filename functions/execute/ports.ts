import type { VerbPorts } from '../../shared/engine/fork-run.ts'
import type { AttachmentPorts } from '../../shared/engine/read-attachments.ts'
import type { Identity } from '../../shared/ports/identity.ts'

export type ExecutePorts = VerbPorts & Pick<AttachmentPorts, 'blobs' | 'attachments'> & { identity: Identity }
