import { z } from 'zod'
import type { Json } from '../core/json.ts'
import type { Catalogue } from './load.ts'
import { fileSchema } from './schema.ts'

/** The JSON schema of backout.yaml with the settings of every adapter, for completion and checks in editors. */
export async function jsonSchema(catalogue: Catalogue): Promise<Json> {
  const whole = toSchema(fileSchema(catalogue.probe)) as {
    properties: { components: { additionalProperties: object } }
  }
  const variants: Json[] = []
  for (const kind of catalogue.kinds) {
    const adapter = await catalogue.adapter(kind)
    variants.push({
      if: { properties: { adapter: { const: kind } }, required: ['adapter'] },
      // biome-ignore lint/suspicious/noThenProperty: this is the keyword of JSON Schema
      then: { properties: { settings: toSchema(adapter.config) } },
    })
  }
  const component = whole.properties.components.additionalProperties as { properties: { adapter: object }; allOf: Json }
  component.properties.adapter = { ...component.properties.adapter, enum: [...catalogue.kinds] }
  component.allOf = variants
  return whole as unknown as Json
}

function toSchema(schema: z.ZodType): Json {
  return z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as Json
}
