#include "shrink.hpp"

#include <cstring>

#include "compare.hpp"

namespace vellum::differential {

Case shrink(const Case& c, NativeRunner& native, EngineRunner& engine) {
  Case best = c;
  const auto try_case = [&](const Case& candidate) {
    Outcome n, e;
    if (!native.run({&candidate, 1}, {&n, 1})) return;
    engine.run(candidate, e);
    if (!compare(candidate, n, e).empty() && !known_difference(candidate, n, e)) best = candidate;
  };
  const auto attempt = [&](auto change) {
    Case candidate = best;
    change(candidate);
    try_case(candidate);
  };
  for (unsigned r = 0; r < 16; ++r) attempt([&](Case& s) { s.in.gpr[r] = 0; });
  for (unsigned r = 0; r < 16; ++r) {
    attempt([&](Case& s) { std::memset(s.in.fp.xmm(r), 0, 16); });
    attempt([&](Case& s) { std::memset(s.in.fp.ymm_hi(r), 0, 16); });
  }
  for (unsigned r = 0; r < 8; ++r) attempt([&](Case& s) { std::memset(s.in.fp.st(r), 0, 16); });
  attempt([&](Case& s) { s.in.fp.mxcsr() = 0x1f80; });
  attempt([&](Case& s) { s.in.fp.fcw() = 0x37f; });
  attempt([&](Case& s) { s.in.fp.fsw() = 0; });
  attempt([&](Case& s) { s.in.fp.ftw() = 0; });
  for (unsigned b = 0; b < 22; ++b) {
    if (b == 1 || b == 9) continue;
    attempt([&](Case& s) { s.in.rflags &= ~bit(b); });
  }
  attempt([&](Case& s) { s.data_seed = 0; });
  return best;
}

}  // namespace vellum::differential
