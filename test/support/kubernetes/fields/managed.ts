import { type Fields, type ManagedFields, type Obj } from '../types.ts'
import { decode, type Difference, difference, encode, type Paths } from './sets.ts'

export interface Manager {
  readonly name: string
  readonly subresource?: string
}

/** Who owns which fields after a write that was no apply: the writer owns what it changed, and nobody else does. */
export function afterUpdate(
  before: Obj | null,
  after: Obj,
  by: Manager,
  o: { custom: boolean; now: string },
): ManagedFields[] | undefined {
  const change = difference(bare(before), bare(after), o.custom)
  const entries = before?.metadata.managedFields ?? []
  if (change.set.size === 0 && change.removed.size === 0) return before?.metadata.managedFields
  const others = entries.flatMap(entry => (isOf(entry, by, 'Update') ? [] : lessened(entry, change)))
  const own = entries.find(entry => isOf(entry, by, 'Update'))
  const paths = new Set([...(own === undefined ? [] : decode(own.fieldsV1)), ...change.set])
  for (const path of change.removed) paths.delete(path)
  if (paths.size === 0) return others
  return [...others, entryOf(by, 'Update', after.apiVersion, paths, o.now)]
}

export function entryOf(
  by: Manager,
  operation: 'Apply' | 'Update',
  apiVersion: string,
  paths: Paths,
  now: string,
): ManagedFields {
  return {
    manager: by.name,
    operation,
    apiVersion,
    time: now,
    fieldsType: 'FieldsV1',
    fieldsV1: encode(paths),
    ...(by.subresource === undefined ? {} : { subresource: by.subresource }),
  }
}

export function isOf(entry: ManagedFields, by: Manager, operation: 'Apply' | 'Update'): boolean {
  return entry.manager === by.name && entry.operation === operation && entry.subresource === by.subresource
}

/** An entry without what was changed or removed by somebody else; none where nothing is left. */
export function lessened(entry: ManagedFields, change: Difference): ManagedFields[] {
  const paths = decode(entry.fieldsV1)
  const left = new Set([...paths].filter(path => !change.set.has(path) && !change.removed.has(path)))
  if (left.size === paths.size) return [entry]
  return left.size === 0 ? [] : [{ ...entry, fieldsV1: encode(left) }]
}

/** Without what no one owns. */
export function bare(object: Obj | null): Fields {
  if (object === null) return {}
  const { managedFields: _, resourceVersion: __, generation: ___, ...metadata } = object.metadata
  return { ...object, metadata }
}
