// The benchmarks: each is a round of fixed work that returns a checksum of its result. A round takes some
// milliseconds on the host's processor; how many rounds are run is the caller's choice, and nothing that a
// round computes depends on it, so that the checksums of a native run and of every engine must agree.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace bench {

using u8 = std::uint8_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

struct Benchmark {
  const char* name;
  const char* group;  ///< the row of the design's table "The measure" that it counts for
  const char* what;
  const char* operation;  ///< what is done `operations` times in a round
  u64 operations;
  u64 (*round)();
  bool (*present)() = nullptr;  ///< whether this processor can run it; null: any can
};

std::span<const Benchmark> integer_benchmarks();
std::span<const Benchmark> branch_benchmarks();
std::span<const Benchmark> scalar_benchmarks();
std::span<const Benchmark> vector_benchmarks();
std::span<const Benchmark> block_benchmarks();
std::span<const Benchmark> memory_benchmarks();
std::span<const Benchmark> process_benchmarks();
std::span<const Benchmark> thread_benchmarks();

/// xorshift64*: the same sequence everywhere.
class Random {
 public:
  explicit Random(u64 seed) : state_(seed) {}
  u64 next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545f4914f6cdd1d;
  }
  u32 below(u32 limit) { return static_cast<u32>((next() >> 32) * limit >> 32); }

 private:
  u64 state_;
};

inline u64 mix(u64 sum, u64 value) {
  return (sum ^ value) * 0x9e3779b97f4a7c15 + (sum >> 29);
}

/// The bits of a floating-point result.
template <class T>
u64 bits_of(T value) {
  static_assert(sizeof(T) == 8);
  return __builtin_bit_cast(u64, value);
}

/// Makes the compiler forget what it knows about a value.
template <class T>
void opaque(T& value) {
  asm volatile("" : "+m"(value) : : "memory");
}

/// Ends the program with a message: a benchmark's own check failed.
[[noreturn]] void fail(const char* what);

}  // namespace bench
