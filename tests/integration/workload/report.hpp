// What every part of the guest workload prints: one line a result, "part.name value", the same on every
// correct machine. The runner compares the lines of the guest with those of the host.
#pragma once

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <string>

namespace workload {

inline void report(const char* name, std::uint64_t value) {
  std::printf("%s 0x%" PRIx64 "\n", name, value);
}
inline void report(const char* name, const std::string& value) {
  std::printf("%s %s\n", name, value.c_str());
}
inline void report_absent(const char* name) {
  std::printf("%s absent\n", name);
}

/// A generator with a fixed seed (splitmix64): the same numbers everywhere.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

 private:
  std::uint64_t state_;
};

/// FNV-1a over bytes: enough to compare buffers by one number.
inline std::uint64_t digest(const void* data, std::size_t size, std::uint64_t hash = 0xcbf29ce484222325) {
  const auto* p = static_cast<const unsigned char*>(data);
  for (std::size_t i = 0; i < size; ++i) hash = (hash ^ p[i]) * 0x100000001b3;
  return hash;
}

// The parts. Each returns 0, or 1 if what it saw cannot be (it has then said so on standard output).
int integers();
int x87();
int vectors();
int crypto();
int threads();
int signals();
int timers();
int processes(const char* self);
int memory();
int clocks();

}  // namespace workload
