// Integer code as compilers emit it: multiplication and division of every width, shifts and rotates, carries,
// bit scans, sorting, a sieve, a hash map, strings.
#include <algorithm>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "report.hpp"

namespace workload {
namespace {

template <class T>
std::uint64_t mix(std::uint64_t seed) {
  Random random(seed);
  std::uint64_t hash = 0;
  for (int i = 0; i < 20'000; ++i) {
    const T a = static_cast<T>(random.next());
    const T b = static_cast<T>(random.next() | 1);
    const unsigned shift = static_cast<unsigned>(random.next()) % (sizeof(T) * 8 - 1) + 1;
    T r = static_cast<T>(a * b);
    if (b != static_cast<T>(-1)) r = static_cast<T>(r ^ static_cast<T>(a / b) ^ static_cast<T>(a % b));
    r = static_cast<T>(r + static_cast<T>(a >> shift));
    r = static_cast<T>(r ^ static_cast<T>(static_cast<std::uint64_t>(b) << shift));
    hash = hash * 31 + static_cast<std::uint64_t>(r) + (a < b ? 7 : 11);
  }
  return hash;
}

#ifdef __x86_64__
using Word = unsigned long long;
__attribute__((target("adx"))) unsigned char add_with_carry(unsigned char carry, Word a, Word b, Word* sum) {
  return __builtin_ia32_addcarryx_u64(carry, a, b, sum);
}
#define VELLUM_WORD(name) __builtin_ia32_##name##_di

std::uint64_t wide() {
  Random random(5);
  unsigned __int128 sum = 1;
  for (int i = 0; i < 20'000; ++i) {
    sum = sum * random.next() + random.next();
    if (i % 8 == 0) sum %= random.next() | 1;
  }
  return static_cast<std::uint64_t>(sum >> 64) ^ static_cast<std::uint64_t>(sum);
}
#else
using Word = unsigned int;
__attribute__((target("adx"))) unsigned char add_with_carry(unsigned char carry, Word a, Word b, Word* sum) {
  return __builtin_ia32_addcarryx_u32(carry, a, b, sum);
}
#define VELLUM_WORD(name) __builtin_ia32_##name##_si

// 64 bits are two words here.
std::uint64_t wide() {
  Random random(5);
  std::uint64_t sum = 1;
  for (int i = 0; i < 20'000; ++i) {
    sum = sum * random.next() + random.next();
    if (i % 8 == 0) sum %= (random.next() >> (i % 40)) | 1;
  }
  return sum;
}
#endif

std::uint64_t scans() {
  Random random(6);
  std::uint64_t hash = 0;
  for (int i = 0; i < 20'000; ++i) {
    const std::uint64_t v = random.next() >> (i % 63);
    hash =
        hash * 131 + static_cast<std::uint64_t>(__builtin_clzll(v | 1) + __builtin_ctzll(v | (1ull << 63)));
    hash += static_cast<std::uint64_t>(__builtin_popcountll(v)) + __builtin_bswap64(v);
  }
  return hash;
}

// BMI1, BMI2, ADX, MOVBE, LZCNT and POPCNT where the processor has them: the values equal the plain form's.
__attribute__((target("bmi,bmi2,adx,movbe,lzcnt,popcnt"))) std::uint64_t modern() {
  Random random(7);
  std::uint64_t hash = 0;
  unsigned char carry = 0;
  constexpr int kBits = sizeof(Word) * 8;
  for (int i = 0; i < 20'000; ++i) {
    const auto a = static_cast<Word>(random.next());
    const auto b = static_cast<Word>(random.next());
    Word sum = 0;
    carry = add_with_carry(carry, a, b, &sum);
    hash = hash * 33 + (sum ^ (~a & b) ^ (a & (a - 1)) ^ (b ^ (b - 1)));
    hash += VELLUM_WORD(pext)(a, b) ^ VELLUM_WORD(pdep)(b, a) ^ VELLUM_WORD(bzhi)(a, i % kBits);
    hash ^= (a >> (i % kBits)) + (a << (b % kBits)) + __builtin_bswap64(b);
    hash += static_cast<std::uint64_t>(__builtin_clzll(a) + __builtin_ctzll(b) + __builtin_popcountll(a ^ b));
  }
  return hash;
}

std::uint64_t sieve() {
  std::vector<bool> composite(60'000);
  std::uint64_t sum = 0;
  for (std::size_t i = 2; i < composite.size(); ++i) {
    if (composite[i]) continue;
    sum += i;
    for (std::size_t j = i * i; j < composite.size(); j += i) composite[j] = true;
  }
  return sum;
}

std::uint64_t containers() {
  Random random(8);
  std::vector<std::uint64_t> values(8'000);
  for (auto& v : values) v = random.next();
  std::sort(values.begin(), values.end());
  std::unordered_map<std::string, std::size_t> counts;
  for (std::size_t i = 0; i < values.size(); ++i) counts[std::to_string(values[i] % 977)] += i;
  std::map<std::string, std::size_t> ordered(counts.begin(), counts.end());
  std::uint64_t hash = digest(values.data(), values.size() * sizeof values[0]);
  for (const auto& [key, count] : ordered) hash = digest(key.data(), key.size(), hash + count);
  return hash;
}

}  // namespace

int integers() {
  report("integers.u8", mix<std::uint8_t>(1));
  report("integers.u16", mix<std::uint16_t>(2));
  report("integers.u32", mix<std::uint32_t>(3));
  report("integers.u64", mix<std::uint64_t>(4));
  report("integers.i32", mix<std::int32_t>(3));
  report("integers.i64", mix<std::int64_t>(4));
  report("integers.wide", wide());
  report("integers.scans", scans());
  if (__builtin_cpu_supports("bmi2") && __builtin_cpu_supports("bmi")) {
    report("integers.bmi", modern());
  } else {
    report_absent("integers.bmi");
  }
  report("integers.sieve", sieve());
  report("integers.containers", containers());
  return 0;
}

}  // namespace workload
