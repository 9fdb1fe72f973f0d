// What the evaluator has loaded of one binding: made anew, as a whole, when that changes.
#ifndef ALERTING_EXT_EVALUATOR_WORLD_H_
#define ALERTING_EXT_EVALUATOR_WORLD_H_

#include <cstdint>
#include <string>
#include <unordered_map>

#include "core/engine.h"
#include "ext/evaluator/alert_store.h"
#include "ext/evaluator/state_store.h"
#include "ext/host/binding.h"
#include "ext/host/container_directory.h"

namespace alerting::ext {

struct World {
  // `started`, `watched_since`: see Engine.
  World(Binding loaded, Micros started, Micros watched_since)
      : binding(std::move(loaded)),
        engine(started, watched_since),
        directory(binding),
        alerts(binding, &directory),
        states(binding, engine) {}
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  Binding binding;
  Engine engine;
  ContainerDirectory directory;
  AlertStore alerts;
  StateStore states;
  std::unordered_map<uint64_t, std::string> alert_ids;  // of FIRING alerts, by engine number
};

}  // namespace alerting::ext

#endif  // ALERTING_EXT_EVALUATOR_WORLD_H_
