import type { FrontPorts } from '../../shared/engine/create-run.ts'
import type { AttachmentPorts } from '../../shared/engine/read-attachments.ts'
import type { Identity } from '../../shared/ports/identity.ts'

export type ExecutePorts = FrontPorts &
  Pick<AttachmentPorts, 'blobs' | 'attachments'> & { identity: Identity }
