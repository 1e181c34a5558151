// Seeded random cases: encodings from every opcode map, and raw bytes.
#pragma once

#include <random>

#include "case.hpp"
#include "x86/decode.hpp"

namespace vellum::differential {

/// Whether `decoded` is a string instruction with a REP prefix (see Case::repeated).
bool is_repeated(const x86::Decoded& decoded);

class Generator {
 public:
  struct Options {
    unsigned compat_percent = 25;
    bool only_canonical_rsp = false;
  };
  explicit Generator(u64 seed, Options options = {25, false}) : random_(seed), options_(options) {}
  /// The next case that may be run on both sides. `decoded` is set if its bytes decode.
  Case next();

  /// Whether this instruction has an outcome that both sides can be held to: not one that asks the host's
  /// kernel, reads what only the host knows, or takes the jail down. The reasons stand in the .cpp beside the
  /// names.
  static bool comparable(const x86::Decoded& decoded);

 private:
  u64 next64() { return random_(); }
  unsigned below(unsigned n) { return static_cast<unsigned>(random_() % n); }
  bool chance(unsigned percent) { return below(100) < percent; }
  u64 random_value();
  u64 random_pointer(bool compat);
  void random_encoding(Case& c);
  void random_state(Case& c);
  void random_vectors(XsaveArea& fp);

  std::mt19937_64 random_;
  Options options_;
};

}  // namespace vellum::differential
