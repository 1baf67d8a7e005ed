import { z } from 'zod'
import type { Json } from '../core/json.ts'
import type { Catalogue } from './load.ts'
import { fileSchema } from './schema.ts'

/** The JSON schema of backout.yaml with the settings of every adapter, for completion and checks in editors. */
export async function jsonSchema(catalogue: Catalogue): Promise<Json> {
  const whole = toSchema(fileSchema(catalogue.probe)) as {
    properties: { components: { additionalProperties: object } }
    $defs?: Record<string, Json>
  }
  const variants: Json[] = []
  const definitions: Record<string, Json> = {}
  for (const kind of catalogue.kinds) {
    const adapter = await catalogue.adapter(kind)
    variants.push({
      if: { properties: { adapter: { const: kind } }, required: ['adapter'] },
      // biome-ignore lint/suspicious/noThenProperty: this is the keyword of JSON Schema
      then: { properties: { settings: partOf(kind, adapter.config, definitions) } },
    })
  }
  const component = whole.properties.components.additionalProperties as { properties: { adapter: object }; allOf: Json }
  component.properties.adapter = { ...component.properties.adapter, enum: [...catalogue.kinds] }
  component.allOf = variants
  return { ...whole, $defs: { ...whole.$defs, ...definitions } } as unknown as Json
}

/** The schema of a part, its definitions moved to the whole: there is where references are looked up. */
function partOf(kind: string, schema: z.ZodType, definitions: Record<string, Json>): Json {
  const text = JSON.stringify(toSchema(schema)).replaceAll('"#/$defs/', `"#/$defs/${kind}.`)
  const { $schema: _, $defs, ...part } = JSON.parse(text) as { [key: string]: Json; $defs: Record<string, Json> }
  for (const [name, definition] of Object.entries($defs ?? {})) definitions[`${kind}.${name}`] = definition
  return part
}

function toSchema(schema: z.ZodType): Json {
  return z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as Json
}
