// Says in words what a rule makes of a container: the explanation of explain(). Any process.
#ifndef ALERTING_CORE_PLAIN_WORDS_H_
#define ALERTING_CORE_PLAIN_WORDS_H_

#include <string>

#include "core/engine.h"

namespace alerting {

// "2026-03-02 10:04:00Z", with milliseconds where there are any.
std::string TimeInWords(Micros time);
// "5 minutes", "90 seconds".
std::string DurationInWords(Micros duration);

// The state of the rule on the container, what would change it, and what silence means.
std::string ExplainInWords(const Rule& rule, const Explanation& seen);

}  // namespace alerting

#endif  // ALERTING_CORE_PLAIN_WORDS_H_
