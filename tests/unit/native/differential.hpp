// One instruction in one random state, run by the handlers and by the host, and every register and the memory
// operand compared.
#pragma once

#include <random>

#include "bench.hpp"
#include "host_cpu.hpp"
#include "x86/decode.hpp"

namespace vellum::test {

using Random = std::mt19937_64;

/// Bytes of memory that compare() sets and compares; rbx points into its middle.
inline constexpr unsigned kMemoryWindow = 512;

struct StateChoice {
  bool unmask_simd = false;  ///< random MXCSR masks, rounding, DAZ and FTZ; else 0x1f80
  bool unmask_x87 = false;   ///< random FCW masks
};

/// Fills GPRs, flags, vector registers and x87 state with values of the kinds that matter (special and
/// ordinary floating-point numbers, integers small and large).
void randomize(HostState& state, Random& random, const StateChoice& choice);
/// One random 4-, 8- or 10-byte-lane pattern of `size` bytes.
void random_bytes(std::span<u8> bytes, Random& random);

void copy_state(const HostState& from, VcpuState& to);

enum class Compared {
  kSame,
  kSkipped,    ///< NativeCode does not serve it, or says #UD
  kDifferent,  ///< `report` has what
};

/// Runs `bytes`, whose memory operand, if any, is [rbx + …] within `memory`
/// (kMemoryWindow bytes), in the given state.
Compared compare(NativeBench& bench, const x86::Decoded& decoded, const HostState& state,
                 std::span<const u8> memory, Random& random, std::string& report);

}  // namespace vellum::test
