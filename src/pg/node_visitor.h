// Passing a function to the server's tree walkers. Any process.
#ifndef ALERTING_PG_NODE_VISITOR_H_
#define ALERTING_PG_NODE_VISITOR_H_

#include "pg/pg_headers.h"

namespace alerting::pg {

// The walkers take a function of unspecified arguments before 16, of (Node*, void*) from then on.
struct NodeVisitor {
  using Typed = bool (*)(Node*, void*);
  using Untyped = bool (*)();
  Typed function;
  operator Typed() const { return function; }
  operator Untyped() const {
    return reinterpret_cast<Untyped>(reinterpret_cast<void (*)()>(function));
  }
};

}  // namespace alerting::pg

#endif  // ALERTING_PG_NODE_VISITOR_H_
