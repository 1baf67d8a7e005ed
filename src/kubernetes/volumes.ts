import type { Container, Workload } from './api/objects.ts'
import type { Case, Say } from './case.ts'
import type { Goal } from './goals.ts'
import { digestOf } from './template.ts'

/** Volumes that each pod of a StatefulSet has a claim of its own for. */
export function claimsOf({ kind, spec }: Workload): string[] {
  const claims = (spec['volumeClaimTemplates'] ?? []) as { metadata?: { name?: string } }[]
  return kind === 'StatefulSet' ? claims.flatMap(({ metadata }) => metadata?.name ?? []) : []
}

/** Its controller deletes the volumes of pods that it is scaled down by (served since 1.27). */
function deletesVolumes(object: Workload): boolean {
  const policy = object.spec['persistentVolumeClaimRetentionPolicy'] as { whenScaled?: string } | undefined
  return policy?.whenScaled === 'Delete' && claimsOf(object).length > 0
}

/** With fewer pods it would have fewer volumes: by what it says now, or by what an applied manifest says. */
export function keepsItsPods({ seen, manifest }: Goal): boolean {
  return [seen.object, manifest].some(one => one !== null && deletesVolumes({ ...one, kind: seen.kind }))
}

export function checkVolumes({ asked, site }: Case, goal: Goal, say: Say): void {
  const { seen, pinned } = goal
  if (seen.object === null || !keepsItsPods(goal)) return
  const now = seen.object.spec.replicas ?? 1
  if (pinned.replicas !== null && pinned.replicas < now && site.config.replicas === 'pinned') {
    say(
      'warning',
      'volumes_kept',
      `${seen.id} keeps its ${now} pods, and had ${pinned.replicas}: its controller deletes the volumes of pods that it has no longer (persistentVolumeClaimRetentionPolicy)`,
      'scale it yourself once their data is not needed',
    )
  }
  if (!asked.stop || !deletesVolumes({ ...seen.object, kind: seen.kind }) || now === 0) return
  const keep = '{"spec":{"persistentVolumeClaimRetentionPolicy":{"whenScaled":"Retain"}}}'
  say(
    'blocker',
    'volumes_deleted',
    `Stopping ${seen.id} scales it to nothing, and its controller deletes the volumes of its pods then (persistentVolumeClaimRetentionPolicy)`,
    `have them kept, then plan again: kubectl -n ${site.namespace} patch statefulset ${seen.name} --type merge -p '${keep}'`,
  )
}

/** What a container mounts of the volumes that are there: a claim belongs to one pod, and a Job has none. */
export function withoutClaims(container: Container, volumes: readonly { name: string }[]): Container {
  const { volumeMounts, volumeDevices, ...rest } = container
  const there = (one: { name: string }) => volumes.some(volume => volume.name === one.name)
  return {
    ...rest,
    ...(volumeMounts === undefined ? {} : { volumeMounts: volumeMounts.filter(there) }),
    ...(volumeDevices === undefined ? {} : { volumeDevices: devicesOf(container).filter(there) }),
  }
}

/** Claims that are had as devices, without a file system. */
export function devicesOf(container: Container): { name: string }[] {
  return (container['volumeDevices'] ?? []) as { name: string }[]
}

/** Commands that others run here find no claimed volume. */
export function checkCommands({ site, world, question }: Case, say: Say): void {
  if (!question.needs.some(need => need.of === site.component && need.what === 'exec-from')) return
  const { container: wanted } = site.config
  for (const { object, kind, id } of world.objects) {
    const base = object?.spec.template.spec.containers.find(c => wanted === undefined || c.name === wanted)
    if (object === null || base === undefined) continue
    const used = [...(base.volumeMounts ?? []), ...devicesOf(base)]
    const out = claimsOf({ ...object, kind }).filter(name => used.some(one => one.name === name))
    if (out.length === 0) return
    return say(
      'warning',
      'claims_left_out',
      `Commands run from the image of ${id} without its volumes ${out.join(', ')}: a claim belongs to one pod`,
      'see that the commands need nothing of them',
    )
  }
}

/** Nodes say which image a container runs, not which one is mounted (taken by default since 1.35). */
export function checkImageVolumes({ question }: Case, { seen, manifest }: Goal, say: Say): void {
  const volumes = (manifest?.spec.template.spec.volumes ?? []) as { name: string; image?: { reference?: string } }[]
  for (const { name, image } of volumes) {
    const reference = image?.reference
    if (reference === undefined || digestOf(reference) !== null) continue
    say(
      'warning',
      'image_volume',
      `The volume ${name} of ${seen.id} is the image ${reference}: what that gives today is mounted, and nobody can tell whether it was that at ${question.release}`,
      'name images of volumes by their digest (`@sha256:...`)',
    )
  }
}

/** Where a StatefulSet begins to count its pods (served since 1.27): by that they have their names, and their volumes. */
export function checkOrdinals({ question, rung, site }: Case, { seen, manifest }: Goal, say: Say): void {
  if (seen.kind !== 'StatefulSet' || seen.object === null || manifest === null) return
  const [now, then] = [startOf(seen.object), startOf(manifest)]
  // What is applied whole takes it back where the manifest says it.
  if (now === then || (rung === 'manifest' && manifest.spec['ordinals'] !== undefined)) return
  const patch = JSON.stringify({ spec: { ordinals: then === 0 ? null : { start: then } } })
  say(
    'warning',
    'ordinals_differ',
    `The pods of ${seen.id} are numbered from ${now} on, and were from ${then} on at ${question.release} (ordinals): they have other names and other volumes, and keep them`,
    `see that the release can live with that; or: kubectl -n ${site.namespace} patch statefulset ${seen.name} --type merge -p '${patch}'`,
  )
}

function startOf({ spec }: Workload): number {
  return (spec['ordinals'] as { start?: number } | undefined)?.start ?? 0
}
