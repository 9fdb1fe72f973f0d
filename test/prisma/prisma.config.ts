import { defineConfig } from 'prisma/config'

export default defineConfig({
  schema: 'schema',
  experimental: { externalTables: true },
  // Tables that the extension makes and keeps: Prisma's migrations leave them alone.
  tables: {
    external: [
      'alerting.alert_rule', 'alerting.alert', 'alerting.webhook', 'alerting.delivery', 'alerting.delivery_attempt',
      'alerting.host_binding', 'alerting.metric_source', 'alerting.series_state',
    ],
  },
})
