// The application's client.
import { PrismaPg } from '@prisma/adapter-pg'
import { PrismaClient } from '../generated/client.ts'

export const prisma = new PrismaClient({
  adapter: new PrismaPg({ connectionString: process.env.DATABASE_URL }),
  // Secrets are written, never read.
  omit: { webhook: { secret: true, headers: true } },
})

/** Waits until all that was committed before is judged and every webhook is sent. */
export async function settled(): Promise<boolean> {
  const [row] = await prisma.$queryRaw<{ flush: boolean }[]>`SELECT alerting.flush('30s', deliveries => true)`
  return row?.flush ?? false
}
