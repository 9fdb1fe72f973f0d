// Prisma 6 with its schema engine in JavaScript, which needs no downloaded program.
import { PrismaPg } from '@prisma/adapter-pg'
import pg from 'pg'
import { defineConfig } from 'prisma/config'

// The adapter does not know columns of type "char" (18), which the engine reads from the catalogs:
// as a character in one query, as text (25) in the others.
const result = (pg.Result as unknown as { prototype: { addFields(fields: { dataTypeID: number }[]): void } }).prototype
const addFields = result.addFields
result.addFields = function (fields) {
  for (const field of fields) if (field.dataTypeID === 18) field.dataTypeID = 25
  addFields.call(this, fields)
}

// While it waits for a lock the engine sets a timer of ten seconds, and forgets it: don't wait for that.
const { setTimeout } = globalThis
globalThis.setTimeout = ((callback: () => void, ms?: number, ...rest: []) => {
  const timer = setTimeout(callback, ms, ...rest)
  return ms === 10_000 ? timer.unref() : timer
}) as typeof setTimeout

type Adapter = Awaited<ReturnType<PrismaPg['connect']>>
const character = 6

function withCharacters(adapter: Adapter): Adapter {
  const queryRaw = adapter.queryRaw.bind(adapter)
  adapter.queryRaw = async (query) => {
    const answer = await queryRaw(query)
    const column = answer.columnNames.indexOf('constraint_type')
    if (column >= 0) answer.columnTypes[column] = character
    return answer
  }
  return adapter
}

class MigratingPg extends PrismaPg {
  override connect = async () => withCharacters(await super.connect())
  override connectToShadowDb = async () => withCharacters(await super.connectToShadowDb())
}

export default defineConfig({
  schema: 'schema',
  migrations: { path: 'migrations' },
  engine: 'js',
  experimental: { adapter: true, externalTables: true },
  adapter: async () => {
    const database = new URL(process.env.DATABASE_URL!)
    // Not the address as a whole: it would win over the name of the shadow database.
    return new MigratingPg(
      new pg.Pool({
        host: database.searchParams.get('host')!, user: database.username, database: database.pathname.slice(1),
        allowExitOnIdle: true, idleTimeoutMillis: 100,
      }),
      { disposeExternalPool: true },
    )
  },
  // Tables that the extension makes and keeps.
  tables: {
    external: [
      'alert_rule', 'alert', 'webhook', 'delivery', 'delivery_attempt', 'host_binding', 'metric_source', 'series_state',
    ].map((table) => `alerting.${table}`),
  },
})
