// The C library's block and string functions, as the library chooses them for the processor that it finds.
#include <cstring>
#include <string>
#include <vector>

#include "benchmark.hpp"

namespace bench {
namespace {

// Called through pointers, or the compiler would inline some.
void* (*volatile copy)(void*, const void*, std::size_t) = std::memcpy;
std::size_t (*volatile length)(const char*) = std::strlen;
int (*volatile compare)(const void*, const void*, std::size_t) = std::memcmp;
void* (*volatile fill)(void*, int, std::size_t) = std::memset;

u64 sum_of(const std::vector<u8>& bytes) {
  u64 sum = 0;
  for (std::size_t n = 0; n < bytes.size(); n += 509) sum = mix(sum, bytes[n]);
  return sum;
}

std::vector<u8> random_bytes(std::size_t size, u64 seed) {
  std::vector<u8> bytes(size);
  Random random(seed);
  for (u8& byte : bytes) byte = static_cast<u8>(random.next() >> 40);
  return bytes;
}

constexpr u32 kSmall = 100'000;

u64 copy_small() {
  static const std::vector<u8> from = random_bytes(8192, 37);
  static std::vector<u8> to(8192);
  Random random(41);
  for (u32 n = 0; n < kSmall; ++n) {
    const u64 dice = random.next();
    copy(to.data() + (dice >> 16) % 7900, from.data() + (dice >> 32) % 7900, 1 + dice % 256);
  }
  return sum_of(to);
}

constexpr u32 kLarge = 1 << 20, kLargeCopies = 32;

u64 copy_large() {
  static const std::vector<u8> from = random_bytes(kLarge, 43);
  static std::vector<u8> to(kLarge);
  fill(to.data(), 0, kLarge);
  for (u32 n = 0; n < kLargeCopies; ++n) copy(to.data() + 64 * n, from.data() + 8 * n, kLarge - 64 * n);
  return sum_of(to);
}

constexpr u32 kStrings = 512, kStringPasses = 60;

u64 strings() {
  static std::vector<std::string> texts;
  if (texts.empty()) {
    Random random(47);
    for (u32 n = 0; n < kStrings; ++n) texts.emplace_back(1 + random.below(n % 8 == 0 ? 2000 : 60), 'x');
  }
  u64 sum = 0;
  for (u32 pass = 0; pass < kStringPasses; ++pass)
    for (u32 n = 1; n < kStrings; ++n) {
      const std::size_t a = length(texts[n].c_str()), b = texts[n - 1].size();
      sum += a + static_cast<u64>(compare(texts[n].data(), texts[n - 1].data(), a < b ? a : b) == 0);
    }
  return sum;
}

constexpr const char* kGroup = "blocks";
constexpr Benchmark kAll[] = {
    {"memcpy-small", kGroup, "copies of 1 to 256 bytes", "copy", kSmall, copy_small},
    {"memcpy-large", kGroup, "copies of 1 MiB", "copy", kLargeCopies, copy_large},
    {"strings", kGroup, "strlen and memcmp of 1 to 2000 bytes", "string", kStrings* kStringPasses, strings},
};

}  // namespace

std::span<const Benchmark> block_benchmarks() {
  return kAll;
}

}  // namespace bench
