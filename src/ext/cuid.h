// Identifiers shaped like the cuid() of Prisma clients: 25 characters, a leading "c", sortable by
// time to the millisecond, unguessable at the end. Any process.
#ifndef ALERTING_EXT_CUID_H_
#define ALERTING_EXT_CUID_H_

#include <string>

namespace alerting::ext {

std::string NewCuid();

}  // namespace alerting::ext

#endif  // ALERTING_EXT_CUID_H_
