// Packed arithmetic: SSE's four floats, AVX2's eight floats and integers.
#include <immintrin.h>

#include <vector>

#include "benchmark.hpp"

namespace bench {
namespace {

// The Mandelbrot set, a vector of points at a time.
constexpr u32 kSide = 96, kDepth = 64;

u64 sse() {
  u64 sum = 0;
  const __m128 one = _mm_set1_ps(1), four = _mm_set1_ps(4);
  for (u32 row = 0; row < kSide; ++row)
    for (u32 column = 0; column < kSide; column += 4) {
      const auto place = static_cast<float>(column);
      const __m128 cx = _mm_sub_ps(
          _mm_mul_ps(_mm_add_ps(_mm_set1_ps(place), _mm_setr_ps(0, 1, 2, 3)), _mm_set1_ps(3.0f / kSide)),
          _mm_set1_ps(2));
      const __m128 cy = _mm_set1_ps(static_cast<float>(row) * (2.0f / kSide) - 1);
      __m128 x = cx, y = cy, count = _mm_setzero_ps();
      for (u32 n = 0; n < kDepth; ++n) {
        const __m128 xx = _mm_mul_ps(x, x), yy = _mm_mul_ps(y, y);
        const __m128 inside = _mm_cmple_ps(_mm_add_ps(xx, yy), four);
        if (_mm_movemask_ps(inside) == 0) break;
        count = _mm_add_ps(count, _mm_and_ps(inside, one));
        const __m128 xy = _mm_mul_ps(x, y);
        x = _mm_add_ps(_mm_sub_ps(xx, yy), cx);
        y = _mm_add_ps(_mm_add_ps(xy, xy), cy);
      }
      alignas(16) float counts[4];
      _mm_store_ps(counts, count);
      for (const float c : counts) sum = mix(sum, static_cast<u64>(c));
    }
  return sum;
}

[[gnu::target("avx2")]] u64 avx2() {
  u64 sum = 0;
  const __m256 one = _mm256_set1_ps(1), four = _mm256_set1_ps(4);
  for (u32 row = 0; row < kSide; ++row)
    for (u32 column = 0; column < kSide; column += 8) {
      const auto place = static_cast<float>(column);
      const __m256 lanes = _mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7);
      const __m256 cx = _mm256_sub_ps(
          _mm256_mul_ps(_mm256_add_ps(_mm256_set1_ps(place), lanes), _mm256_set1_ps(3.0f / kSide)),
          _mm256_set1_ps(2));
      const __m256 cy = _mm256_set1_ps(static_cast<float>(row) * (2.0f / kSide) - 1);
      __m256 x = cx, y = cy, count = _mm256_setzero_ps();
      for (u32 n = 0; n < kDepth; ++n) {
        const __m256 xx = _mm256_mul_ps(x, x), yy = _mm256_mul_ps(y, y);
        const __m256 inside = _mm256_cmp_ps(_mm256_add_ps(xx, yy), four, _CMP_LE_OQ);
        if (_mm256_movemask_ps(inside) == 0) break;
        count = _mm256_add_ps(count, _mm256_and_ps(inside, one));
        const __m256 xy = _mm256_mul_ps(x, y);
        x = _mm256_add_ps(_mm256_sub_ps(xx, yy), cx);
        y = _mm256_add_ps(_mm256_add_ps(xy, xy), cy);
      }
      alignas(32) float counts[8];
      _mm256_store_ps(counts, count);
      for (const float c : counts) sum = mix(sum, static_cast<u64>(c));
    }
  return sum;
}

constexpr u32 kWords = 16 << 10, kTurns = 16;

// Loads, shuffles, multiplications and stores of integers.
[[gnu::target("avx2")]] u64 avx2_integer() {
  alignas(32) static u32 words[kWords];
  Random random(31);
  for (u32& word : words) word = static_cast<u32>(random.next());
  const __m256i factor = _mm256_set1_epi32(static_cast<int>(0x9e3779b1));
  __m256i carry = _mm256_setzero_si256();
  for (u32 turn = 0; turn < kTurns; ++turn)
    for (u32 n = 0; n < kWords; n += 8) {
      auto* at = reinterpret_cast<__m256i*>(words + n);
      __m256i value = _mm256_load_si256(at);
      value = _mm256_mullo_epi32(_mm256_xor_si256(value, carry), factor);
      carry = _mm256_shuffle_epi32(_mm256_add_epi32(value, _mm256_srli_epi32(value, 15)), 0x39);
      _mm256_store_si256(at, value);
    }
  u64 sum = 0;
  for (u32 n = 0; n < kWords; n += 61) sum = mix(sum, words[n]);
  return sum;
}

bool have_avx2() {
  return __builtin_cpu_supports("avx2") != 0;
}

constexpr const char* kGroup = "floating";
constexpr Benchmark kAll[] = {
    {"sse", kGroup, "SSE: Mandelbrot set, four floats at a time", "point", kSide* kSide, sse},
    {"avx2", kGroup, "AVX: Mandelbrot set, eight floats at a time", "point", kSide* kSide, avx2, have_avx2},
    {"avx2-integer", kGroup, "AVX2: hash of 64 KiB of integers", "vector", kWords / 8 * kTurns, avx2_integer,
     have_avx2},
};

}  // namespace

std::span<const Benchmark> vector_benchmarks() {
  return kAll;
}

}  // namespace bench
