// Makes a mismatching case simpler while it still mismatches.
#pragma once

#include "engine_runner.hpp"
#include "native_runner.hpp"

namespace vellum::differential {

Case shrink(const Case& c, NativeRunner& native, EngineRunner& engine);

}  // namespace vellum::differential
